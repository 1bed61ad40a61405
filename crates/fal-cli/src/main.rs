#![doc = include_str!("../README.md")]

mod args;
mod catalog;
mod connect;
mod demo;
mod exit;
mod flags;
mod input;
mod job;
mod job_name;
mod json;
mod lifecycle;
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
mod upload;
mod webhook;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::Exit;
use crate::flags::{Command, Flags};
use crate::problem::Problem;
use crate::show::Show;

fn main() -> ExitCode {
    let flags = Flags::parse();
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
        Command::Pricing(flags) => catalog::pricing(global, flags, show).await,
        Command::Queue(flags) => catalog::queue(global, flags, show).await,
        Command::Proxy(flags) => proxy::proxy(global, flags, show).await,
        Command::Webhook(flags) => webhook::webhook(global, flags, show).await,
    }
}

/// One to drive the call, one to spare while a file is read or written.
const WORKERS: usize = 2;
