//! Opening a listener, and saying clearly why one can't be opened.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::Misconfigured;

/// An address that can't be listened on. Its text is one line: key, address, reason.
#[derive(Debug)]
pub struct BindError {
    key: String,
    address: SocketAddr,
    reason: io::Error,
    mark: Misconfigured,
}

impl BindError {
    /// The configuration key or the flag that named the address.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same error under another key or flag: for a service that was configured by another one.
    #[must_use]
    pub fn under(self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            mark: mark(key),
            ..self
        }
    }

    /// Why the operating system refused.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.reason.kind()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"{}\": can't listen there: ", self.key, self.address)?;
        match self.reason.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("the port is in use by another process; choose a free one, or 0 for any")
            }
            io::ErrorKind::PermissionDenied => f.write_str("not permitted; choose a port above 1023"),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("this machine has no such address; choose one of its own, or 0.0.0.0 for all")
            }
            _ => write!(f, "{}", crate::config::one_line(&self.reason.to_string())),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.mark)
    }
}

/// Listens on `address`; `key` is the configuration key or the flag that named it. Port 0 takes any free port.
///
/// # Errors
/// The operating system refused; the error ends a process with exit code 2.
pub async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|reason| BindError {
        key: key.to_owned(),
        address,
        reason,
        mark: mark(key),
    })
}

/// A flag says itself where its value comes from.
fn mark(key: &str) -> Misconfigured {
    Misconfigured {
        located: key.starts_with("--"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn port_0_takes_a_free_port() {
        let listener = bind("dashboard.listen", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
    }

    #[tokio::test]
    async fn a_port_in_use_is_one_line_with_key_address_and_reason() {
        let taken = bind("a", "127.0.0.1:0".parse().unwrap()).await.unwrap().local_addr();
        let holder = TcpListener::bind(taken.unwrap()).await.unwrap();
        let address = holder.local_addr().unwrap();
        let error = bind("dashboard.listen", address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(
            error.to_string(),
            format!(
                "dashboard.listen = \"{address}\": can't listen there: the port is in use by another process; choose a free one, or 0 for any"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told() {
        let error = bind("listen", "192.0.2.1:0".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.key(), "listen");
        let error = error.under("--dashboard");
        assert!(
            error.to_string().starts_with("--dashboard = \"192.0.2.1:0\": "),
            "{error}"
        );
        assert!(error.mark.located);
        assert!(
            error.to_string().contains("this machine has no such address"),
            "{error}"
        );
    }
}
