//! The `tilekv` command line: reads what is wanted, does it through the client, and says what
//! came of it. Each command has a file of its own; this one knows which is which.

mod apply;
mod arguments;
mod backup;
mod clock_time;
mod csv_rows;
mod demo;
mod demo_views;
mod explain;
mod failure;
mod folder;
mod get;
mod job_load;
mod jobs;
mod limits;
mod load;
mod parquet_rows;
mod plan;
mod progress;
mod render;
mod services;
mod session;
mod source;
mod table;
mod terminal;
mod tiles;
mod timeline;
mod training_input;
mod training_output;
mod training_set;
mod verify;
mod view_file;
mod views;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Action, Arguments};
use failure::CliError;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) | Err(CliError::OutputClosed) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CliError> {
    let server = arguments.server;
    match arguments.action {
        Action::Ping(ping) => session::ping(&server, &ping),
        Action::View(view) => views::run(&server, view),
        Action::Plan(plan) => apply::plan(&server, &plan),
        Action::Apply(apply) => apply::apply(&server, &apply),
        Action::Service(service) => services::run(&server, service),
        Action::Add(add) => tiles::add(&server, add),
        Action::Set(write) => tiles::set(&server, write),
        Action::Merge(write) => tiles::merge(&server, write),
        Action::Range(range) => tiles::range(&server, range),
        Action::Del(delete) => tiles::delete(&server, delete),
        Action::Seal(seal) => views::seal(&server, seal),
        Action::Producer(producer) => tiles::producer(&server, producer),
        Action::Load(load) => load::run(&server, load),
        Action::Job(job) => jobs::run(&server, job),
        Action::Get(get) => get::run(&server, get),
        Action::TrainingSet(training) => training_set::run(&server, &training),
        Action::Explain(explain) => explain::run(&server, explain),
        Action::Backup(backup) => backup::run(&backup),
        Action::Restore(restore) => backup::put_back(&restore),
        Action::Verify(verify) => verify::run(&verify),
        Action::Demo(demo) => demo::run(&server, demo),
        Action::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tilekv", &mut script);
    terminal::write(&script)
}
