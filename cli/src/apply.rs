//! `tilekv plan` and `tilekv apply`: a store's views and services as a file declares them. What is
//! done is what was shown. Knows nothing of how plans are made.

use std::io::{self, BufRead, IsTerminal};

use tilekv_client::ClientError;
use tilekv_client::blocking::Client;

use crate::arguments::{Apply, Plan as PlanArguments, Server};
use crate::failure::CliError;
use crate::plan::{Change, Plan, Step, Undeclared};
use crate::session::connect;
use crate::terminal::{note, say};
use crate::view_file::{self, Declared};

/// Shows what a file would change.
pub(crate) fn plan(server: &Server, arguments: &PlanArguments) -> Result<(), CliError> {
    let wanted = view_file::read(&arguments.file)?;
    let client = connect(server, 0)?;
    let plan = Plan::new(&found(&client)?, &wanted, undeclared(arguments.delete));
    say(plan.render())?;
    refuse(&plan)?;
    if arguments.detailed_exitcode && !plan.steps.is_empty() {
        return Err(CliError::ChangesPending);
    }
    Ok(())
}

/// Shows it, asks, and does it. Nothing is done where anything of it cannot be.
pub(crate) fn apply(server: &Server, arguments: &Apply) -> Result<(), CliError> {
    let wanted = view_file::read(&arguments.file)?;
    let undeclared = undeclared(arguments.delete);
    let client = connect(server, 0)?;
    let shown = Plan::new(&found(&client)?, &wanted, undeclared);
    say(shown.render())?;
    refuse(&shown)?;
    if shown.steps.is_empty() {
        return Ok(());
    }
    if !arguments.yes {
        confirm()?;
    }
    // The store may have changed while the plan was read.
    if Plan::new(&found(&client)?, &wanted, undeclared) != shown {
        return Err(CliError::Refused(
            "the store has changed since the plan was shown; nothing was applied".to_owned(),
        ));
    }
    for step in &shown.steps {
        run(&client, step)?;
        say(format_args!("done: {}", step.lines[0]))?;
    }
    Ok(())
}

fn undeclared(delete: bool) -> Undeclared {
    if delete { Undeclared::Dropped } else { Undeclared::Kept }
}

/// The views and services that there are. One that goes meanwhile is passed over.
fn found(client: &Client) -> Result<Declared, CliError> {
    let mut found = Declared::default();
    for name in client.view_names()? {
        match client.view_info(&name) {
            Ok(info) => found.views.push(info.definition),
            Err(ClientError::NoView { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for name in client.service_names()? {
        let info = client.service_info(&name)?;
        found.services.push((name, info.selectors));
    }
    Ok(found)
}

fn refuse(plan: &Plan) -> Result<(), CliError> {
    match plan.refusals.len() {
        0 => Ok(()),
        1 => Err(CliError::Refused("one thing cannot be done; nothing was applied".to_owned())),
        count => {
            Err(CliError::Refused(format!("{count} things cannot be done; nothing was applied")))
        }
    }
}

fn confirm() -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        let sentence = "apply asks before it changes anything, and nobody can answer: say --yes";
        return Err(CliError::Usage(sentence.to_owned()));
    }
    note("Apply this? Only `yes` is taken for it.");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(CliError::Refused("not confirmed; nothing was applied".to_owned())),
    }
}

fn run(client: &Client, step: &Step) -> Result<(), CliError> {
    match &step.change {
        Change::CreateView(definition) => client.create_view(definition)?,
        Change::AlterView(view, change) => client.alter_view(view, change)?,
        Change::DropView(view) => client.drop_view(view)?,
        Change::CreateService(service, selectors) => client.create_service(service, selectors)?,
        Change::ReplaceService(service, selectors) => {
            client.drop_service(service)?;
            client.create_service(service, selectors)?;
        }
        Change::DropService(service) => client.drop_service(service)?,
    }
    Ok(())
}
