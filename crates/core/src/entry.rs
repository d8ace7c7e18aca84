//! Start and end of a process: flags, logs, signals and the exit code.

use crate::command_line;
use crate::effective::Settings;
use crate::exit::{Code, Failure};
use crate::kafka::in_words;
use crate::printing::{tell, written};
use crate::remark_line;
use crate::settings::{Binary, SharedFlags};
use crate::telemetry::{self, LogFormat};
use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A process ends this long after a signal, whatever delays it: the promise is 10 s.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(9);

/// Runs a binary: parses its flags, starts logging, and drives `command` until it ends or a signal stops it.
///
/// `command` gets the flags and a token that SIGTERM or SIGINT cancels; the exit code is its own, or that of its error.
/// A second signal, or [`STOP_LIMIT`] after the first, ends the process at once, also with 0: positions are stored with
/// the output, so the next start resumes where this one has written.
pub fn start<Flags, Command, Running>(binary: &Binary, command: Command) -> ExitCode
where
    Flags: CommandFactory + FromArgMatches + AsRef<SharedFlags>,
    Command: FnOnce(Flags, CancellationToken) -> Running,
    Running: Future<Output = anyhow::Result<ExitCode>>,
{
    let described = command_line::described(binary, Flags::command());
    let matches = match described.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return answer(&error),
    };
    match command_line::complete(&described, &matches) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => return fail(&error, LogFormat::Text),
    }
    let flags = match Flags::from_arg_matches(&matches) {
        Ok(flags) => flags,
        Err(error) => return answer(&error),
    };
    // The command reports an unusable format among its problems.
    let format = flags.as_ref().log_format.parse().unwrap_or_default();
    if let Err(problem) = telemetry::init(format) {
        return fail(&Failure::usage(problem), format);
    }
    if let Err(error) = command_line::check_uses(binary, &described, &matches) {
        return fail(&error, format);
    }
    for problem in command_line::unknown_variables(std::env::vars_os()) {
        tracing::warn!("{problem}");
    }
    let settings = Settings::new(&described, &matches);
    let runs = matches.subcommand_name().is_none();
    if flags.as_ref().print_config {
        if let Err(error) = tell(&settings.to_string()) {
            return fail(&error, format);
        }
    } else if runs {
        tracing::info!(settings = settings.line(), "configuration");
        settings.take_effect();
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let shutdown = CancellationToken::new();
            runtime.block_on(async {
                stop_on_signals(shutdown.clone())?;
                command(flags, shutdown).await
            })
        });
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error, format),
    }
}

/// Prints what clap says of a command line. Help and version are answers, everything else is a mistake in the call.
pub fn answer(error: &clap::Error) -> ExitCode {
    match written(error.print()) {
        _ if error.use_stderr() => ExitCode::from(Code::Usage as u8),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, LogFormat::Text),
    }
}

/// Reports the error that ends the process, and returns its exit code.
fn fail(error: &anyhow::Error, format: LogFormat) -> ExitCode {
    let text = in_words(error);
    match format {
        LogFormat::Text => remark_line!("error: {text}"),
        LogFormat::Json => tracing::error!("{text}"),
    }
    ExitCode::from(Failure::code(error) as u8)
}

fn stop_on_signals(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if stopping {
                tracing::warn!(signal = name, "second signal, not waiting any longer");
                std::process::exit(0);
            }
            stopping = true;
            tracing::info!(signal = name, "stopping");
            shutdown.cancel();
            // On a thread of its own, which works even if every task of the runtime is stuck.
            std::thread::spawn(|| {
                std::thread::sleep(STOP_LIMIT);
                tracing::warn!(limit = ?STOP_LIMIT, "did not stop in time, ending at once");
                std::process::exit(0);
            });
        }
    });
    Ok(())
}
