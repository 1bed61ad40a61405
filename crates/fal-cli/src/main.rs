#![doc = include_str!("../README.md")]

mod args;
mod catalog;
mod codegen;
mod command_line;
mod connect;
mod demo;
mod exit;
mod flags;
mod given;
mod input;
mod job;
mod job_name;
mod json;
mod lifecycle;
mod model_help;
mod problem;
mod proxy;
mod realtime;
mod resume;
mod run;
mod save;
mod schema;
mod show;
mod signals;
mod stream;
mod table;
mod typed;
mod upload;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::exit::Exit;
use crate::flags::{Command, Flags, Given, Global};
use crate::problem::Problem;
use crate::show::Show;

fn main() -> ExitCode {
    let sorted = command_line::sort(std::env::args_os(), &Flags::command());
    let mut flags = Flags::parse_from(sorted.args);
    if let Some(given) = flags.command.given_mut() {
        given.rest = sorted.rest;
        given.wants_help = sorted.wants_help;
    }
    let mut show = Show::new(&flags.global);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(perform(flags, &mut show));
            // A read of standard input that nobody waits for any more must not hold up the end.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Problem::new(Exit::Other, format!("cannot start the runtime: {error}"))),
    };
    let result = result.and_then(|exit| show.finish().map(|()| exit));
    let exit = result.unwrap_or_else(|problem| {
        show.problem(&problem);
        problem.exit
    });
    exit.into()
}

async fn perform(flags: Flags, show: &mut Show) -> Result<Exit, Problem> {
    let global = &flags.global;
    if let Some((command, given)) = flags.command.asked_for_help() {
        return help(global, command, given, show).await;
    }
    match flags.command {
        Command::Demo(flags) => demo::demo(global, flags, show).await,
        Command::Run(flags) => run::run(global, flags, show).await,
        Command::Stream(flags) => stream::stream(global, flags, show).await,
        Command::Realtime(flags) => realtime::realtime(global, flags, show).await,
        Command::Token(flags) => realtime::token(global, flags, show).await,
        Command::Submit(flags) => run::submit(global, flags, show).await,
        Command::Status(flags) => job::status(global, flags, show).await,
        Command::Result(flags) => job::result(global, flags, show).await,
        Command::Cancel(flags) => job::cancel(global, flags, show).await,
        Command::Upload(flags) => upload::upload(global, flags, show).await,
        Command::Models(flags) => catalog::models(global, flags, show).await,
        Command::Schema(flags) => schema::schema(global, flags, show).await,
        Command::Codegen(flags) => codegen::codegen(global, flags, show).await,
        Command::Pricing(flags) => catalog::pricing(global, flags, show).await,
        Command::Queue(flags) => catalog::queue(global, flags, show).await,
        Command::Proxy(flags) => proxy::proxy(global, flags, show).await,
        Command::Webhook(flags) => webhook::webhook(global, flags, show).await,
    }
}

/// Tells the inputs of a model, or what a command takes of any.
async fn help(
    global: &Global,
    command: &str,
    given: &Given,
    show: &mut Show,
) -> Result<Exit, Problem> {
    show.doing("asking for the model's document");
    let text = match given::find(global, given).await {
        Ok(model) => model_help::text(&model, command, model_help::width()),
        Err(error) if given.schema.is_some() => return Err(Problem::of(error, global)),
        Err(error) => {
            let mut flags = Flags::command();
            flags.build();
            let help = flags.find_subcommand_mut(command).map(|command| command.render_long_help());
            let help = help.map(|help| help.to_string()).unwrap_or_default();
            format!("{error}\nSo its inputs are not known here; this is how to give any:\n\n{help}")
        }
    };
    show.help(&text);
    Ok(Exit::Ok)
}

/// One to drive the call, one to spare while a file is read or written.
const WORKERS: usize = 2;
