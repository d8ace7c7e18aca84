//! A Kafka and a Redis with authentication: listeners with TLS, client certificates and passwords.

use std::path::Path;

use anyhow::Result;

use super::certificates::Certificates;
use super::{Kafka, Redis, ports};

/// The only user of secure servers.
pub const USER: &str = "alice";
/// The user's password, with characters that are special in URLs, property files and command lines.
pub const PASSWORD: &str = "s3cret=p@ss/w%rd";

/// A broker with one listener for each way to authenticate, in addition to the plain one for the tests themselves.
pub struct SecureKafka {
    kafka: Kafka,
    ports: [u16; LISTENERS.len()],
}

/// Name of each listener, its protocol, and the certificate that it shows.
const LISTENERS: [(&str, &str, &str); 4] = [
    ("TLS", "SSL", "server"),
    ("MUTUAL", "SSL", "server"),
    ("PASSWORD", "SASL_SSL", "server"),
    ("EXPIRED", "SSL", "expired"),
];

/// The configuration of a secure broker.
pub(super) struct Listeners {
    ports: [u16; LISTENERS.len()],
    certificates: Certificates,
}

impl SecureKafka {
    /// Starts one with these certificates.
    pub fn start(folder: &Path, certificates: &Certificates) -> Result<SecureKafka> {
        let mut ports = [0; LISTENERS.len()];
        for port in &mut ports {
            *port = ports::free()?;
        }
        let listeners = Listeners {
            ports,
            certificates: certificates.clone(),
        };
        let kafka = Kafka::start_with(folder, None, false, Some(&listeners))?;
        Ok(SecureKafka { kafka, ports })
    }

    /// Address of the plain listener.
    pub fn plain(&self) -> String {
        self.kafka.brokers()
    }

    /// Address of the listener with TLS, for any client.
    pub fn tls(&self) -> String {
        self.at(0)
    }

    /// Address of the listener with TLS that requires a client certificate.
    pub fn mutual(&self) -> String {
        self.at(1)
    }

    /// Address of the listener with TLS and a password, by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    pub fn password(&self) -> String {
        self.at(2)
    }

    /// Address of the listener with TLS and an expired certificate.
    pub fn expired(&self) -> String {
        self.at(3)
    }

    fn at(&self, listener: usize) -> String {
        format!("127.0.0.1:{}", self.ports[listener])
    }
}

impl Listeners {
    /// Further elements of `listeners` and `advertised.listeners`.
    pub(super) fn addresses(&self) -> String {
        let addresses = LISTENERS.iter().zip(self.ports);
        addresses
            .map(|((name, ..), port)| format!(",{name}://127.0.0.1:{port}"))
            .collect()
    }

    /// Further elements of `listener.security.protocol.map`.
    pub(super) fn protocols() -> String {
        LISTENERS
            .map(|(name, protocol, _)| format!(",{name}:{protocol}"))
            .concat()
    }

    /// Further lines of the broker's settings.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::from("inter.broker.listener.name=PLAINTEXT\n");
        let authority = self.certificates.authority_file();
        let mut line = |listener: &str, key: &str, value: &str| {
            let name = listener.to_lowercase();
            lines += &format!("listener.name.{name}.{key}={value}\n");
        };
        for (name, _, certificate) in LISTENERS {
            let both = self.certificates.both(certificate);
            line(name, "ssl.keystore.type", "PEM");
            line(name, "ssl.keystore.location", &both.display().to_string());
        }
        line("MUTUAL", "ssl.client.auth", "required");
        line("MUTUAL", "ssl.truststore.type", "PEM");
        line(
            "MUTUAL",
            "ssl.truststore.location",
            &authority.display().to_string(),
        );
        line(
            "PASSWORD",
            "sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        );
        let module = "org.apache.kafka.common.security";
        let users = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
        line("PASSWORD", "plain.sasl.jaas.config", &users);
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            let key = format!("{mechanism}.sasl.jaas.config");
            let users = format!("{module}.scram.ScramLoginModule required;");
            line("PASSWORD", &key, &users);
        }
        lines
    }

    /// Arguments that create the user of a new cluster.
    pub(super) fn users() -> Vec<String> {
        ["SCRAM-SHA-256", "SCRAM-SHA-512"]
            .into_iter()
            .flat_map(|mechanism| {
                let user = format!("{mechanism}=[name={USER},password={PASSWORD}]");
                ["--add-scram".to_owned(), user]
            })
            .collect()
    }
}

/// Starts a Redis that speaks only TLS and knows only [`USER`]; with `mutual` it also requires a client certificate.
/// `None` if the server at hand was built without TLS.
pub fn secure_redis(
    folder: &Path,
    certificates: &Certificates,
    name: &str,
    mutual: bool,
) -> Result<Option<Redis>> {
    let path = |file: std::path::PathBuf| file.display().to_string();
    let port = ports::free()?;
    let arguments = [
        vec!["--port".into(), "0".into()],
        vec!["--tls-port".into(), port.to_string()],
        vec![
            "--tls-cert-file".into(),
            path(certificates.certificate(name)),
        ],
        vec!["--tls-key-file".into(), path(certificates.key(name))],
        vec![
            "--tls-ca-cert-file".into(),
            path(certificates.authority_file()),
        ],
        vec![
            "--tls-auth-clients".into(),
            if mutual { "yes" } else { "no" }.into(),
        ],
        [
            "--user",
            USER,
            "on",
            &format!(">{PASSWORD}"),
            "~*",
            "&*",
            "+@all",
        ]
        .map(str::to_owned)
        .to_vec(),
        ["--user", "default", "off"].map(str::to_owned).to_vec(),
    ];
    Redis::start_secure(folder, port, arguments.concat())
}
