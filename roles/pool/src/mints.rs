//! Which mints may connect, as it is now: the configuration's list, which an operator can change while the pool runs.

use std::{net::SocketAddr, sync::Arc};

use mint_link::Admission;
use service::ConfigError;
use tokio::sync::watch;

use crate::config::{MintLinkSection, PoolConfig};

/// The rule for mints of a running pool. Cheap to clone; all clones are one rule.
#[derive(Clone, Debug)]
pub struct Mints {
    /// Where the pool listens for them, whatever a file says by now.
    listen: SocketAddr,
    rule: watch::Sender<Arc<Admission>>,
}

impl Mints {
    pub(crate) fn new(section: &MintLinkSection, listen: SocketAddr) -> Self {
        Self {
            listen,
            rule: watch::Sender::new(Arc::new(rule_of(section))),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Admission>> {
        self.rule.subscribe()
    }

    /// Takes `mint_public_keys` and `allow_legacy_mint` of a configuration that was read anew, and nothing else of it, for
    /// those who come and for those within: a session that would not be let in now ends. Returns whether they differ from
    /// what was.
    ///
    /// # Errors
    /// A configuration with which the pool would not start, such as an empty list with a listener that is open to other
    /// machines. Then the rule stays as it was.
    pub fn apply(&self, mut config: PoolConfig) -> Result<bool, ConfigError> {
        config.mint_link.listen = self.listen;
        config.check()?;
        let rule = rule_of(&config.mint_link);
        Ok(self.rule.send_if_modified(|now| {
            let differs = **now != rule;
            if differs {
                *now = Arc::new(rule);
            }
            differs
        }))
    }
}

fn rule_of(section: &MintLinkSection) -> Admission {
    Admission {
        mint_public_keys: section.mint_public_keys.clone(),
        allow_legacy_mint: section.allow_legacy_mint,
    }
}

#[cfg(test)]
mod tests {
    use mint_link::MintKey;

    use super::*;

    fn listing(keys: usize) -> PoolConfig {
        let mut config = PoolConfig::default();
        config.mint_link.mint_public_keys = (0..keys).map(|_| MintKey::generate().public()).collect();
        config
    }

    #[test]
    fn a_list_that_is_read_anew_is_the_rule_from_there() {
        let config = listing(1);
        let mints = Mints::new(&config.mint_link, config.mint_link.listen);
        let rule = mints.watch();
        assert!(!mints.apply(config).unwrap(), "nothing has changed");
        assert!(!rule.has_changed().unwrap());
        let longer = listing(2);
        let keys = longer.mint_link.mint_public_keys.clone();
        assert!(mints.apply(longer).unwrap());
        assert_eq!(rule.borrow().mint_public_keys, keys);
    }

    #[test]
    fn what_would_not_start_is_refused_by_the_listener_that_runs() {
        let config = listing(1);
        let mints = Mints::new(&config.mint_link, "0.0.0.0:34260".parse().unwrap());
        let rule = mints.watch();
        // The file names a loopback listener by now; this pool's is still the open one.
        let error = mints.apply(listing(0)).unwrap_err();
        assert!(
            error.to_string().starts_with("mint_link.mint_public_keys = []"),
            "{error}"
        );
        let mut other = listing(1);
        other.mint_link.window = 0;
        assert!(mints.apply(other).is_err());
        assert!(!rule.has_changed().unwrap());
    }
}
