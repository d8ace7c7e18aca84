//! README and tutorial: their blocks run as they are pasted, in their order, on a fresh Kafka and Redis.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::harness::{Binaries, Program};
use sandbox::kafka::create_topics;
use sandbox::stack::{PARTITIONS, Stack, TOPICS};

/// Functions in the place of programs that may be missing here, or that would build anew: `just` runs the very lines of
/// the justfile, and `cargo` the programs that are built already.
const STAND_INS: &str = r#"
just() {
    local recipe
    recipe=$(awk -v name="^$1( |:)" '$0 ~ name { inside = 1; next } inside && sub(/^    /, "") { print; next } inside { exit }' "$ROOT/justfile")
    local sandbox
    sandbox=$(sed -n 's/^sandbox := "\(.*\)"$/\1/p' "$ROOT/justfile")
    bash -ec "${recipe//'{{sandbox}}'/"$sandbox"}" "$@"
}
cargo() {
    local program=sandbox
    [ "$1" = demo ] && { "$BIN/sandbox" "$@"; return; }
    while [ "$1" != -- ]; do [ "$1" = --bin ] && program=$2; shift; done
    shift
    "$BIN/$program" "$@"
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
    local python imports='pandas, pyarrow'
    [[ $1 = *train.py ]] && imports+=', lightgbm, onnxmltools, onnxruntime'
    for python in "$ROOT/target/venv/bin/python" "$(type -P python3)"; do
        if "$python" -c "import $imports" 2> /dev/null; then "$python" "$@"; return; fi
    done
    if [[ $1 = *train.py ]]; then cp -r "$(dirname "$1")/model" "$3"; else "$BIN/collector" inspect training_data; fi
}
export -f just cargo redis-cli python3
"#;

/// The blocks of a page that are to be pasted.
pub(crate) fn blocks(page: &str) -> Vec<&str> {
    let parts = page.split("```sh\n").skip(1);
    parts
        .filter_map(|part| Some(part.split_once("```")?.0))
        .collect()
}

/// Flags in the place of variables, for programs that are started without a shell.
const FLAGS: [(&str, &str); 5] = [
    ("KAFKA_BROKERS", "--brokers"),
    ("KAFKA_CONFIG", "--kafka-config"),
    ("REDIS_URL", "--redis-url"),
    ("TIDEMILL_REDIS_CA", "--redis-ca"),
    ("TIDEMILL_REDIS_PASSWORD_FILE", "--redis-password-file"),
];

/// The words after `just` of each line, if all of them start a program that runs until it is stopped.
fn starts(block: &str) -> Option<Vec<Vec<&str>>> {
    let start = |line| {
        let words: Vec<&str> = str::split(line, ' ').skip(1).collect();
        let is_program = ["featurizer", "scorer", "collector"].contains(words.first()?);
        let runs = words.get(1).is_none_or(|word| word.starts_with("--"));
        let ends = words.contains(&"--until-end");
        (line.starts_with("just ") && is_program && runs && !ends).then_some(words)
    };
    block.lines().map(start).collect()
}

/// The servers, programs and folder of a newcomer.
pub(crate) struct Newcomer {
    root: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    programs: Vec<Program>,
}

impl Newcomer {
    /// Somebody with a checkout of the project at `root`, in another folder that has the checkout's `links`.
    pub(crate) fn new(
        folder: &Path,
        links: &[&str],
        environment: Vec<(String, String)>,
    ) -> Result<Newcomer> {
        let root = checkout()?;
        for link in links {
            symlink(root.join(link), folder.join(link))?;
        }
        Ok(Newcomer {
            root,
            folder: folder.to_owned(),
            environment,
            programs: Vec::new(),
        })
    }

    /// Pastes all blocks of a page. The output of a block contains the parts that `says` has for a text in it.
    pub(crate) fn follow(mut self, page: &str, says: &[(&str, &[&str])]) -> Result<()> {
        let mut heard = 0;
        for block in blocks(page) {
            if block.starts_with("just stack-") {
                continue;
            }
            if let Some(lines) = starts(block) {
                for words in lines {
                    self.start(&words)?;
                }
                for program in &mut self.programs {
                    program.wait_ready()?;
                }
                continue;
            }
            let told = self.paste(block)?;
            for (text, parts) in says.iter().filter(|(text, _)| block.contains(text)) {
                heard += 1;
                for part in *parts {
                    let found = told.contains(part);
                    assert!(found, "{part:?} is not in what {text} prints: {told}");
                }
            }
        }
        assert_eq!(heard, says.len(), "each expectation is about one block");
        for program in &mut self.programs {
            assert!(program.terminate()?.success());
        }
        Ok(())
    }

    /// Starts a program as `just` would, and leaves it running.
    fn start(&mut self, words: &[&str]) -> Result<()> {
        let (program, flags) = words.split_first().context("no program")?;
        let mut arguments: Vec<OsString> = flags.iter().map(Into::into).collect();
        for (variable, value) in &self.environment {
            let flag = FLAGS.iter().find(|(name, _)| name == variable);
            let (_, flag) = flag.context("a variable without a flag")?;
            if *program != "collector" || !flag.starts_with("--redis") {
                arguments.extend([flag.into(), value.into()]);
            }
        }
        let label = format!("{program}-{}", self.programs.len());
        let program = Program::start(program, &label, &self.folder, arguments)?;
        self.programs.push(program);
        Ok(())
    }

    /// Pastes a block into a shell, and returns what it prints.
    fn paste(&self, block: &str) -> Result<String> {
        let output = Command::new("bash")
            .args(["-c", &format!("set -e\n{STAND_INS}\n{block}")])
            .envs(self.environment.clone())
            .env("ROOT", &self.root)
            .env("BIN", Binaries::build()?.path(""))
            .current_dir(&self.folder)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let told = String::from_utf8(output.stdout)?;
        assert!(output.status.success(), "{block}{told}{said}");
        Ok(told + &said)
    }
}

/// The folder of the project.
pub(crate) fn checkout() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Ok(root.canonicalize()?)
}

/// Pastes a page's blocks on a Kafka and a Redis of its own.
pub(crate) fn follow(page: &str, says: &[(&str, &[&str])]) -> Result<()> {
    let page = fs::read_to_string(checkout()?.join(page))?;
    let (kafka, redis) = (Stack::own_kafka()?, Stack::own_redis()?);
    create_topics(&kafka.brokers(), &TOPICS, PARTITIONS)?;
    let environment = vec![
        ("KAFKA_BROKERS".to_owned(), kafka.brokers()),
        ("REDIS_URL".to_owned(), redis.url()),
    ];
    let folder = tempfile::tempdir()?;
    let newcomer = Newcomer::new(folder.path(), &["models", "examples"], environment)?;
    newcomer.follow(&page, says)
}

#[test]
fn every_block_of_the_readme_runs_as_pasted() -> Result<()> {
    follow(
        "README.md",
        &[
            ("cargo demo", &["12000 of 12000", "all checks hold"]),
            ("produce user-events", &["purchase_count_24h\n1\n", "49.99"]),
            (
                "consume fraud-predictions",
                &[
                    "\"transaction_id\":\"t_1\"",
                    "\"fraud_score\":0.9998,\"is_fraud\":true",
                ],
            ),
            (
                "produce labeled-events",
                &["transaction_id", "amount", "label"],
            ),
            (
                "transactions.dead-letter",
                &["reason=missing_field", "source.offset=", "t_2"],
            ),
        ],
    )
}

#[test]
fn every_block_of_the_tutorial_runs_as_pasted() -> Result<()> {
    follow(
        "docs/tutorial.md",
        &[
            ("featurizer validate", &["ok"]),
            (
                "hgetall tutorial:",
                &[
                    "views_1h\n2\n",
                    "largest_purchase_7d\n20.5\n",
                    "categories_24h\n2\n",
                ],
            ),
            ("featurizer explain", &["views_1h", "20.5"]),
            ("simulate", &["3"]),
            ("collector verify", &["whole", "views_1h"]),
            ("scorer check", &["14 golden rows agree"]),
            (
                "tutorial-predictions --max 1",
                &["0.9,1.0,899.0,899.0]", "\"is_fraud\":true"],
            ),
            (
                "user-events.dead-letter",
                &[
                    "reason=wrong_type",
                    "source.group=tutorial",
                    "source.group=feature-compute",
                ],
            ),
            ("--resend --dry-run", &["1"]),
            ("featurizer doctor", &["0 problems"]),
        ],
    )
}
