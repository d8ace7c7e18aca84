//! Kafka's own jars, and the jar that contains Redis, from the Java package registry by its ordinary client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::cache;
use crate::progress;

/// The list of jars to fetch; its version numbers are also in the name of the cache folder.
const POM: &str = include_str!("pom.xml");

/// Cache folder of the jars. Raise the suffix whenever `pom.xml` changes.
const FOLDER: &str = "kafka-4.1.0-redis-6.2-1";

/// The oldest Java that Kafka 4.1 runs on.
const JAVA: u32 = 17;

/// Fetches all jars unless they are cached, and returns their folder.
pub(crate) fn folder() -> Result<PathBuf> {
    cache::provide(FOLDER, |staging| {
        let spinner =
            progress::spinner("fetching Apache Kafka and Redis with mvn (about 70 MB, once)");
        fetch(staging)?;
        spinner.done("fetched Apache Kafka and Redis");
        Ok(())
    })
}

fn fetch(staging: &Path) -> Result<()> {
    fs::write(staging.join("pom.xml"), POM).context("cannot write the list of jars to fetch")?;
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=."])
        .current_dir(staging)
        .stdin(Stdio::null())
        .output()
        .context("cannot run mvn; install Apache Maven, or point KAFKA_BROKERS and REDIS_URL to a running stack")?;
    if !output.status.success() {
        bail!(
            "mvn could not fetch Apache Kafka ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stdout).trim()
        );
    }
    Ok(())
}

/// Checks for Java and Maven; `Err` says in a few words what is missing.
pub(crate) fn available() -> Result<(), String> {
    let java = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output();
    let text = match java {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stderr).into_owned()
        }
        _ => {
            return Err(format!(
                "no working Java on PATH (Java {JAVA} or later is needed)"
            ));
        }
    };
    match major_version(&text) {
        Some(major) if major < JAVA => {
            return Err(format!(
                "Java {major} on PATH is too old (Java {JAVA} or later)"
            ));
        }
        _ => {}
    }
    let cached = cache::folder().is_ok_and(|root| root.join(FOLDER).is_dir());
    if !cached
        && Command::new("mvn")
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .is_err()
    {
        return Err("no Maven (mvn) on PATH to fetch Apache Kafka with".to_owned());
    }
    Ok(())
}

/// The major version in the output of `java -version`: `openjdk version "17.0.15" ...`, before Java 9 `"1.8.0"`.
fn major_version(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    let mut parts = quoted.split(['.', '-', '_']);
    let first: u32 = parts.next()?.parse().ok()?;
    if first == 1 {
        parts.next()?.parse().ok()
    } else {
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn java_versions_old_and_new() {
        assert_eq!(
            major_version("openjdk version \"17.0.15\" 2025-04-15\n"),
            Some(17)
        );
        assert_eq!(major_version("java version \"1.8.0_402\"\n"), Some(8));
        assert_eq!(
            major_version("openjdk version \"25-ea\" 2025-09-16"),
            Some(25)
        );
        assert_eq!(major_version("no version at all"), None);
    }
}
