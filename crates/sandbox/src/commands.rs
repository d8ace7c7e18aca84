//! The command line: one variant per tool, each with its flags next to its code.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tidemill_core::command_line;
use tidemill_core::entry::answer;
use tidemill_core::kafka::in_words;
use tidemill_core::{remark_line, tell_line};
use tokio_util::sync::CancellationToken;

use crate::{bench, clean, consume, dead_letters, demo, produce, simulate, stack};

/// Development tools for tidemill: simulated traffic, a local Kafka and Redis, the demo
#[derive(Parser)]
#[command(name = "sandbox")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start, stop or look at a local Kafka and Redis
    Stack {
        #[command(subcommand)]
        action: StackAction,
    },
    /// Write simulated traffic to Kafka, or labeled events to a file
    Simulate(simulate::Flags),
    /// Put a record, or lines from standard input, on a topic
    Produce(produce::Flags),
    /// Print what arrives on a topic
    Consume(consume::Flags),
    /// List rejected records by reason, and send copies back once the cause is fixed
    DeadLetters(dead_letters::Flags),
    /// Run everything on live traffic for half a minute and check what comes out
    Demo(demo::Flags),
    /// Remove downloads and data of servers, and say how much that is
    Clean(clean::Flags),
    /// Measure, beside the limit and a plain loop
    #[command(subcommand)]
    Bench(bench::Bench),
}

#[derive(Subcommand)]
enum StackAction {
    /// Start Kafka and Redis; they end with Ctrl-C
    Up {
        /// Return at once; `sandbox stack down` ends them
        #[arg(long)]
        detach: bool,
    },
    /// End what `up --detach` started and remove its data
    Down,
    /// Say whether what `up --detach` started answers
    Status,
}

/// Parses the command line and runs the tool; the exit code is 0, 1 on failure, 64 for a mistake in the call.
pub fn main() -> ExitCode {
    let command = Arguments::command()
        .version(command_line::version(env!("CARGO_PKG_VERSION")))
        .subcommand(command_line::completions());
    let matches = match command.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return answer(&error),
    };
    let outcome = match command_line::complete(&command, &matches) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => match Arguments::from_arg_matches(&matches) {
            Ok(arguments) => run(arguments.command),
            Err(error) => return answer(&error),
        },
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        remark_line!("error: {}", in_words(&error));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Stack {
            action: StackAction::Up { detach: true },
        } => stack::up()?,
        Command::Stack {
            action: StackAction::Up { detach: false },
        } => foreground_stack()?,
        Command::Stack {
            action: StackAction::Down,
        } => stack::down()?,
        Command::Stack {
            action: StackAction::Status,
        } => {
            return Ok(if stack::status()? {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Simulate(flags) => simulate::command(&flags, &cancelled_by_ctrl_c()?)?,
        Command::Produce(flags) => produce::command(&flags)?,
        Command::Consume(flags) => consume::command(&flags, &cancelled_by_ctrl_c()?)?,
        Command::Clean(flags) => clean::command(&flags)?,
        Command::Bench(bench) => bench::command(&bench)?,
        Command::DeadLetters(flags) => dead_letters::command(&flags)?,
        Command::Demo(flags) => {
            let holds = demo::command(&flags, &cancelled_by_ctrl_c()?)?;
            return Ok(if holds {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn foreground_stack() -> Result<()> {
    let options = stack::Options {
        usual_ports: true,
        ..stack::Options::from_environment()
    };
    let spinner = crate::progress::spinner("starting Redis and Kafka");
    let stack = stack::Stack::start(&options)?;
    stack.create_topics(&stack::TOPICS, stack::PARTITIONS)?;
    spinner.done("the stack is up; Ctrl-C ends it and removes its data");
    tell_line!("{}", stack.describe())?;
    let stop = cancelled_by_ctrl_c()?;
    while !stop.is_cancelled() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}

/// A token that Ctrl-C or SIGTERM cancels; a second signal ends the process at once.
pub(crate) fn cancelled_by_ctrl_c() -> Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let cancel = token.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if cancel.is_cancelled() {
                    std::process::exit(130);
                }
                cancel.cancel();
            }
        });
    });
    Ok(token)
}
