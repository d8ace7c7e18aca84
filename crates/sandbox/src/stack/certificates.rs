//! Certificates of a test's own authority: for servers, for clients, and for those that must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// PEM files in one folder.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Creates an authority with the certificates it signs, and a second authority that signs nothing.
    pub fn create(folder: &Path) -> Result<Certificates> {
        let folder = folder.join("certificates");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let certificates = Certificates { folder };
        let issuer = certificates.authority("ca")?;
        certificates.authority("other-ca")?;
        for (name, until) in [("server", 2100), ("expired", 2020), ("client", 2100)] {
            certificates.sign(&issuer, name, until)?;
        }
        Ok(certificates)
    }

    /// The certificate of the authority that signed all others.
    pub fn authority_file(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// The certificate of the authority that signed nothing.
    pub fn other_authority_file(&self) -> PathBuf {
        self.file("other-ca.crt")
    }

    /// The certificate of `server`, `expired` or `client`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.crt"))
    }

    /// The key of that certificate.
    pub fn key(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.key"))
    }

    /// Key and certificate in one file, as Kafka needs them.
    pub fn both(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.pem"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn authority(&self, name: &str) -> Result<Issuer<'static, KeyPair>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        self.write(&format!("{name}.crt"), &certificate.pem())?;
        Ok(Issuer::new(params, key))
    }

    fn sign(&self, issuer: &Issuer<'_, KeyPair>, name: &str, until: i32) -> Result<()> {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?.pem();
        let key = key.serialize_pem();
        self.write(&format!("{name}.crt"), &certificate)?;
        self.write(&format!("{name}.key"), &key)?;
        self.write(&format!("{name}.pem"), &format!("{key}{certificate}"))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.file(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}
