//! Finds the fault of a broker's certificate: librdkafka only says that it could not be verified.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Time limit for one step of a handshake.
const STEP: Duration = Duration::from_secs(2);

/// Shakes hands with the first of `brokers` (`host:port,...`) that answers, and returns the fault of its certificate,
/// given the file of trusted authorities; `None` if there is none, or it cannot be found out.
pub(super) fn fault(brokers: &str, authorities: &Path) -> Option<String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).ok()? {
        roots.add(certificate.ok()?).ok()?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    brokers.split(',').find_map(|broker| {
        let broker = broker.trim();
        let broker = broker.rsplit_once("://").map_or(broker, |(_, rest)| rest);
        let (host, _) = broker.rsplit_once(':')?;
        let address = broker.to_socket_addrs().ok()?.next()?;
        let mut stream = TcpStream::connect_timeout(&address, STEP).ok()?;
        stream.set_read_timeout(Some(STEP)).ok()?;
        stream.set_write_timeout(Some(STEP)).ok()?;
        let name = ServerName::try_from(host.to_owned()).ok()?;
        let mut connection = ClientConnection::new(config.clone(), name).ok()?;
        let error = connection.complete_io(&mut stream).err()?;
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(fault) => Some(format!("{broker}: {fault}")),
            _ => None,
        }
    })
}
