//! The README's step by step: its blocks run as they are pasted, in their order, on a fresh Kafka and Redis.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Program};
use sandbox::kafka::create_topics;
use sandbox::stack::{PARTITIONS, Stack, TOPICS};

/// What stands for programs that may be missing here: `just` runs the very lines of the justfile.
const STAND_INS: &str = r#"
just() {
    local recipe
    recipe=$(awk -v name="^$1( |:)" '$0 ~ name { inside = 1; next } inside && sub(/^    /, "") { print; next } inside { exit }' "$ROOT/justfile")
    recipe=${recipe//'{{sandbox}}'/"$SANDBOX"}
    bash -c "$recipe" "$@"
}
redis-cli() {
    if type -P redis-cli > /dev/null; then command redis-cli -u "$REDIS_URL" "$@"; return; fi
    local address=${REDIS_URL#redis://} line
    exec 3<>"/dev/tcp/${address%:*}/${address#*:}"
    printf '%s\r\nQUIT\r\n' "$*" >&3
    while read -r line <&3; do
        line=${line%$'\r'}
        case $line in '*'* | '$'* | '+OK') ;; *) echo "$line" ;; esac
    done
}
python3() {
    if command python3 -c 'import pandas, pyarrow' 2> /dev/null; then command python3 "$@"; return; fi
    "$BIN/collector" inspect training_data
}
"#;

/// The code blocks of a section of the README.
fn blocks(readme: &str, title: &str) -> Result<Vec<String>> {
    let (_, section) = readme.split_once(title).context("no such section")?;
    let section = section.split("\n#").next().unwrap_or_default();
    let parts = section.split("```\n").skip(1).step_by(2);
    Ok(parts.map(str::to_owned).collect())
}

/// The servers, programs and folder of a newcomer.
struct Newcomer {
    root: PathBuf,
    folder: PathBuf,
    servers: [(&'static str, String); 2],
}

impl Newcomer {
    /// Starts the program of a line such as `just collector --max-age 10s`.
    fn start(&self, line: &str) -> Result<Program> {
        let mut words = line.split_whitespace().skip(1);
        let program = words.next().context("no program")?;
        let mut arguments: Vec<OsString> = words.map(Into::into).collect();
        let [(_, brokers), (_, redis)] = &self.servers;
        arguments.extend(["--brokers".into(), brokers.into()]);
        if program != "collector" {
            arguments.extend(["--redis-url".into(), redis.into()]);
        }
        Program::start(program, program, &self.folder, arguments)
    }

    /// Pastes a block into a shell, and returns what it prints.
    fn paste(&self, block: &str) -> Result<String> {
        let programs = Binaries::build()?.path("");
        let output = Command::new("bash")
            .args(["-c", &format!("set -e\n{STAND_INS}\n{block}")])
            .envs(self.servers.clone())
            .env("ROOT", &self.root)
            .env("SANDBOX", env!("CARGO_BIN_EXE_sandbox"))
            .env("BIN", programs)
            .current_dir(&self.folder)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}{said}");
        Ok(String::from_utf8(output.stdout)? + &said)
    }
}

#[test]
fn every_block_of_the_readme_runs_as_pasted() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize()?;
    let readme = fs::read_to_string(root.join("README.md"))?;
    let blocks = blocks(&readme, "\n## Step by step\n")?;
    let (starts, rest) = blocks.split_first().context("no blocks")?;

    let (kafka, redis) = (Stack::own_kafka()?, Stack::own_redis()?);
    create_topics(&kafka.brokers(), &TOPICS, PARTITIONS)?;
    let folder = tempfile::tempdir()?;
    symlink(root.join("models"), folder.path().join("models"))?;
    let newcomer = Newcomer {
        root,
        folder: folder.path().to_owned(),
        servers: [
            ("KAFKA_BROKERS", kafka.brokers()),
            ("REDIS_URL", redis.url()),
        ],
    };
    let mut lines = starts.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("just stack-up "))
    );
    let mut programs: Vec<Program> = lines
        .map(|line| newcomer.start(line))
        .collect::<Result<_>>()?;
    for program in &mut programs {
        program.wait_ready()?;
    }

    let says: [&[&str]; 4] = [
        &[
            "produced to user-events",
            "purchase_count_24h\n1\n",
            "49.99",
        ],
        &[
            "produced to transactions",
            "\"transaction_id\":\"t_1\"",
            "fraud_score",
        ],
        &[
            "produced to labeled-events",
            "transaction_id",
            "amount",
            "label",
        ],
        &["reason=missing_field", "source.offset=", "t_2"],
    ];
    assert_eq!(rest.len(), says.len(), "{rest:#?}");
    let mut transcript = starts.clone();
    for (block, says) in rest.iter().zip(says) {
        let told = newcomer.paste(block)?;
        for part in says {
            assert!(
                told.contains(part),
                "{part:?} is not in what {block}prints: {told}"
            );
        }
        write!(transcript, "\n{block}{told}")?;
    }
    for program in &mut programs {
        assert!(program.terminate()?.success());
    }
    // For docs/quickstart.md.
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/quickstart.txt");
    Ok(fs::write(file, transcript)?)
}
