//! The SERVICE family: vectors of several views, and their definitions.

use tilekv_engine::{ServiceInfo, ServiceRequest, Write};
use tilekv_protocol::{
    ErrorReply, Reply, RequestShape, ServiceCommand, ServiceRead, check_answer_size,
};

use super::{Action, Context, windows};
use crate::plans::Shape;
use crate::refuse;

pub(super) fn run(context: &Context<'_>, command: ServiceCommand) -> Result<Action, ErrorReply> {
    let (reader, version) = (&context.shared.reader, &context.version);
    match command {
        ServiceCommand::Create { name, selectors } => {
            Ok(Action::Write(Box::new(Write::CreateService { name, selectors })))
        }
        ServiceCommand::Drop(name) => Ok(Action::Write(Box::new(Write::DropService(name)))),
        ServiceCommand::Read(service) => read(context, *service),
        ServiceCommand::List => {
            let names = reader.service_names(version);
            let names = names.iter().map(|name| Reply::text(name.as_str()));
            Ok(Action::Reply(Reply::Array(names.collect())))
        }
        ServiceCommand::Info(name) => {
            let known = reader.service_info(version, &name);
            let known = known.map_err(|error| refuse::engine_error(&error))?;
            Ok(Action::Reply(info(name.as_str(), &known)))
        }
    }
}

fn read(context: &Context<'_>, read: ServiceRead) -> Result<Action, ErrorReply> {
    let ServiceRead { service, keys, values, time, known, with_status } = read;
    let rows = values.len() / keys.len();
    let plan =
        context.plans.find(context, Shape::Service(ServiceRequest { service, keys, known }))?;
    check_answer_size(rows, plan.columns())?;
    windows::answer(context, plan, values, time, (with_status, RequestShape::Batch))
}

/// The reply of SERVICE.INFO.
fn info(name: &str, info: &ServiceInfo) -> Reply {
    let texts = |items: Vec<String>| Reply::Array(items.into_iter().map(Reply::text).collect());
    let pair = |field: &str, value: Reply| (Reply::text(field), value);
    Reply::Map(vec![
        pair("name", Reply::text(name)),
        pair("selectors", texts(info.selectors.iter().map(ToString::to_string).collect())),
        pair("keys", texts(info.keys.iter().map(ToString::to_string).collect())),
        pair("views", texts(info.views.iter().map(ToString::to_string).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    const VIEWS: [&str; 4] = [
        "VIEW.CREATE users TILE 1d KEYS 1 user COLUMNS 1 x:f64 FEATURES 1 m=mean(x)\r\n",
        "VIEW.CREATE shop.pairs TILE 1d KEYS 2 user item COLUMNS 0 FEATURES 1 n=count()\r\n",
        "TILE.ADD users u1 1000 x 1.5\r\n",
        "TILE.ADD shop.pairs \"u1\\x1fi1\" 1000\r\n",
    ];
    const CREATE: &str =
        "SERVICE.CREATE both SELECTORS 2 shop.pairs.n@lifetime users.m@lifetime\r\n";

    #[test]
    fn a_service_is_created_listed_read_and_dropped() {
        let mut rig = Rig::new();
        assert_eq!(rig.talk(&(VIEWS.concat() + CREATE)), "+OK\r\n+OK\r\n:1\r\n:1\r\n+OK\r\n");
        assert_eq!(rig.talk("SERVICE.LIST\r\n"), "*1\r\n$4\r\nboth\r\n");
        let info = rig.talk("SERVICE.INFO both\r\n");
        for part in ["shop.pairs.n@lifetime", "$4\r\nkeys\r\n*2\r\n$4\r\nuser\r\n$4\r\nitem"] {
            assert!(info.contains(part), "{info}");
        }
        let read = "SERVICE.GET both KEYS 2 item user ROWS 2 i1 u1 \"\" u1\r\n";
        let expected = "*2\r\n*2\r\n:1\r\n$3\r\n1.5\r\n*2\r\n:0\r\n$3\r\n1.5\r\n";
        assert_eq!(rig.talk(read), expected);
        assert_eq!(rig.talk("SERVICE.GET both KEYS 2 item user ROWS 0\r\n"), "*0\r\n");
        let status =
            rig.talk("SERVICE.GET both KEYS 2 user item ROWS 1 u1 i9 AT 90000000 STATUS\r\n");
        let expected = "*1\r\n*2\r\n*5\r\n:0\r\n$6\r\nunseen\r\n$-1\r\n:86400000\r\n:0\r\n";
        assert!(status.starts_with(expected), "{status}");
        let refused = rig.talk("VIEW.DROP users\r\nSERVICE.DROP both\r\nVIEW.DROP users\r\n");
        let expected =
            "-ERR view `users` is read by service `both`; drop it first\r\n+OK\r\n+OK\r\n";
        assert_eq!(refused, expected);
        assert!(rig.talk(read).starts_with("-ERR there is no service `both`; SERVICE.LIST"));
    }

    #[test]
    fn a_read_follows_the_writes_before_it_in_the_pipeline() {
        let mut rig = Rig::new();
        let read = "SERVICE.GET both KEYS 2 user item ROWS 1 u1 i1\r\n";
        let input = VIEWS.concat() + CREATE + read + "SERVICE.DROP both\r\n" + read;
        let replies = rig.talk(&input);
        assert!(replies.contains("*1\r\n*2\r\n:1\r\n$3\r\n1.5\r\n+OK\r\n-ERR there"), "{replies}");
    }

    #[test]
    fn an_answer_of_a_service_has_a_bound() {
        let mut rig = Rig::new();
        rig.talk(&(VIEWS.concat() + CREATE));
        let ask = |rows: usize| {
            format!("SERVICE.GET both KEYS 2 user item ROWS {rows}{}\r\n", " u i".repeat(rows))
        };
        let replies = rig.talk(&ask(16));
        assert!(replies.starts_with("*16\r\n"), "{replies}");
        let most = tilekv_protocol::limits::ANSWER_CELLS_MAX / 2;
        assert_eq!(super::check_answer_size(most, 2), Ok(()));
        assert!(super::check_answer_size(most + 1, 2).is_err());
    }
}
