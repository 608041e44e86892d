//! What the pool puts into the coinbase of its blocks: its tag, and one output that takes the reward.

use bitcoin::{Amount, ScriptBuf, TxOut};
use template_distribution_sv2::CoinbaseOutputConstraints;

use super::config::MiningSection;

/// The pool's part of a coinbase.
#[derive(Debug, Clone)]
pub(crate) struct Coinbase {
    pub(crate) tag: String,
    script: ScriptBuf,
}

impl Coinbase {
    pub(crate) fn new(section: &MiningSection) -> Self {
        Self {
            tag: section.pool_tag.clone(),
            script: section.reward_script(),
        }
    }

    /// The outputs beside those of the template; they take exactly what the template leaves.
    pub(crate) fn outputs(&self, value_remaining: u64) -> Vec<TxOut> {
        vec![TxOut {
            value: Amount::from_sat(value_remaining),
            script_pubkey: self.script.clone(),
        }]
    }

    /// What a template provider must leave room for.
    pub(crate) fn constraints(&self) -> CoinbaseOutputConstraints {
        let output = TxOut {
            value: Amount::MAX_MONEY,
            script_pubkey: self.script.clone(),
        };
        CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: u32::try_from(output.size()).unwrap_or(u32::MAX),
            coinbase_output_max_additional_sigops: u16::try_from(self.script.count_sigops_legacy()).unwrap_or(u16::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reward_goes_whole_to_the_address_that_is_configured() {
        let section = MiningSection {
            reward_address: Some(
                "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
                    .to_owned()
                    .try_into()
                    .unwrap(),
            ),
            ..MiningSection::default()
        };
        let coinbase = Coinbase::new(&section);
        let outputs = coinbase.outputs(312_500_000);
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].value.to_sat(), 312_500_000);
        assert!(outputs[0].script_pubkey.is_p2wpkh());
        // 8 bytes of value, 1 of length, 22 of script.
        let constraints = coinbase.constraints();
        assert_eq!(constraints.coinbase_output_max_additional_size, 31);
        assert_eq!(constraints.coinbase_output_max_additional_sigops, 0);

        let legacy = MiningSection {
            reward_address: Some("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2".to_owned().try_into().unwrap()),
            ..section
        };
        assert_eq!(
            Coinbase::new(&legacy)
                .constraints()
                .coinbase_output_max_additional_sigops,
            1
        );
    }
}
