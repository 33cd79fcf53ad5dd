//! Stories of requests and connections, told against a server of the test's own.

use std::time::Duration;

use bytes::Bytes;
use tilekv_protocol::native::{PlanReply, Request, Response};
use tilekv_protocol::{ErrorCode, ErrorReply, Reply};
use tilekv_tile::{AnswerColumn, Answers, Name, Status, Value, Values, WindowBounds};

use crate::fake_server::{FakePeer, FakeServer, text, words};
use crate::{Backoff, Client, ClientError, ClientOptions, Fate, PlanBuilder, ReadOptions};

async fn pair(server: &FakeServer) -> (Client, FakePeer) {
    let connecting = Client::connect(server.options());
    let (client, peer) = tokio::join!(connecting, server.accept());
    (client.unwrap(), peer)
}

#[tokio::test]
async fn answers_in_any_order_find_their_requests() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let asked = ["a", "b", "c", "d"].map(|word| {
        let client = client.clone();
        tokio::spawn(async move { client.command(&["ECHO", word]).await.unwrap() })
    });
    let mut requests = Vec::new();
    while requests.len() < asked.len() {
        requests.push(peer.next().await.unwrap());
    }
    for (id, request) in requests.into_iter().rev() {
        peer.answer(id, &text(&words(&request)[1])).await;
    }
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    assert_eq!(answers, ["a", "b", "c", "d"].map(Reply::text));
}

#[tokio::test]
async fn a_read_is_sent_again_after_its_connection_was_lost() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let asked = tokio::spawn(async move { client.view_names().await });
    peer.next().await.unwrap();
    drop(peer);
    let mut peer = server.accept().await;
    let (id, request) = peer.next().await.unwrap();
    assert_eq!(words(&request), ["VIEW.LIST"]);
    peer.answer(id, &Response::Value(Reply::Array(vec![Reply::text("likes")]))).await;
    assert_eq!(asked.await.unwrap().unwrap(), [Name::parse(b"likes").unwrap()]);
}

#[tokio::test]
async fn a_command_with_an_effect_is_not_sent_twice() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.drop_view(&Name::parse(b"likes").unwrap()).await }
    });
    peer.next().await.unwrap();
    drop(peer);
    let error = asked.await.unwrap().unwrap_err();
    assert!(error.may_have_been_applied(), "{error}");
    let next = tokio::spawn(async move { client.command(&["ECHO", "next"]).await });
    let mut peer = server.accept().await;
    let (id, request) = peer.next().await.unwrap();
    assert_eq!(words(&request), ["ECHO", "next"], "the lost command does not come again");
    peer.answer(id, &text("next")).await;
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_command_of_which_nothing_had_left_is_sent_on_a_new_connection() {
    let server = FakeServer::start().await;
    let (client, peer) = pair(&server).await;
    // More than the sockets hold, while the server reads nothing.
    let large = vec![b'x'; 900 << 10];
    let stuck: Vec<_> = (0..32)
        .map(|_| {
            let (client, large) = (client.clone(), large.clone());
            tokio::spawn(async move { client.command(&[b"ECHO", &large[..]]).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let behind = tokio::spawn({
        let client = client.clone();
        async move { client.drop_view(&Name::parse(b"likes").unwrap()).await }
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(peer);
    let mut peer = server.accept().await;
    let (id, request) = peer.next().await.unwrap();
    assert_eq!(words(&request), ["VIEW.DROP", "likes"], "what was under way does not come again");
    peer.answer(id, &Response::Value(Reply::OK)).await;
    behind.await.unwrap().unwrap();
    for lost in stuck {
        assert!(lost.await.unwrap().unwrap_err().may_have_been_applied());
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_request_time() {
    let server = FakeServer::start().await;
    let options = server.options().with_request_timeout(Duration::from_millis(40));
    let (client, peer) = tokio::join!(Client::connect(options), server.accept());
    let client = client.unwrap();
    let error = client.view_names().await.unwrap_err();
    let ClientError::TimedOut { fate, waited } = error else { panic!("{error} is no time-out") };
    assert_eq!((fate, waited), (Fate::Unknown, Duration::from_millis(40)));
    let (answer, ()) = tokio::join!(client.ping(), async {
        let mut fresh = server.accept().await;
        let (id, request) = fresh.next().await.unwrap();
        let Request::Ping(payload) = request else { panic!("a PING was sent") };
        fresh.answer(id, &Response::Pong(payload)).await;
    });
    answer.unwrap();
    drop(peer);
}

#[tokio::test]
async fn an_answer_after_its_time_disturbs_nobody() {
    let server = FakeServer::start().await;
    let options = server.options().with_request_timeout(Duration::from_millis(60));
    let (client, peer) = tokio::join!(Client::connect(options), server.accept());
    let (client, mut peer) = (client.unwrap(), peer);
    let (late, other) = (client.command(&["ECHO", "late"]), client.command(&["ECHO", "other"]));
    let serve = async {
        let (late_id, _) = peer.next().await.unwrap();
        let (id, _) = peer.next().await.unwrap();
        peer.answer(id, &text("other")).await;
        tokio::time::sleep(Duration::from_millis(90)).await;
        peer.answer(late_id, &text("late")).await;
        let (id, _) = peer.next().await.unwrap();
        peer.answer(id, &text("after")).await;
    };
    let ask = async {
        let (late, other) = tokio::join!(late, other);
        assert!(matches!(late, Err(ClientError::TimedOut { .. })), "{late:?}");
        assert_eq!(other.unwrap(), Reply::text("other"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(client.command(&["ECHO"]).await.unwrap(), Reply::text("after"));
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn every_refusal_arrives_as_its_error() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let serve = peer.serve(|request| {
        let number = words(&request)[1].parse().unwrap();
        let code = ErrorCode::from_number(number).unwrap();
        Some(Response::refusal(ErrorReply::from_parts(code, Some(9), "why")))
    });
    let ask = async {
        for code in ErrorCode::all().filter(|code| *code != ErrorCode::Loading) {
            let number = code.number().to_string();
            let error = client.command(&["FAIL", &number]).await.unwrap_err();
            assert_eq!(error.code(), Some(code));
            assert!(!error.may_have_been_applied(), "{error}");
            if let ClientError::OutOfOrder { last, .. } = error {
                assert_eq!(last, Some(9));
            }
        }
        drop(client);
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn a_server_that_loads_is_asked_again() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let mut refusals = 2;
    let serve = peer.serve(|_| {
        if refusals == 0 {
            return Some(text("ready"));
        }
        refusals -= 1;
        Some(Response::refusal(ErrorReply::new(ErrorCode::Loading, "soon")))
    });
    let ask = async {
        assert_eq!(client.command(&["ECHO"]).await.unwrap(), Reply::text("ready"));
        drop(client);
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn connecting_keeps_to_the_schedule() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let delays = [Duration::from_millis(1), Duration::from_millis(2)];
    let options = ClientOptions::new(&address).with_backoff(Backoff::from_delays(delays));
    let error = Client::connect(options).await.unwrap_err();
    let ClientError::Connect { attempts, address: named, .. } = &error else {
        panic!("{error} is no failure to connect");
    };
    assert_eq!((*attempts, named), (3, &address));
}

#[tokio::test]
async fn a_password_is_asked_for_and_checked() {
    let mut server = FakeServer::start().await;
    server.password = Some(Bytes::from_static(b"open"));
    let with = |password: &'static str| server.options().with_password(password);
    let (without, _) = tokio::join!(Client::connect(server.options()), server.accept());
    assert_eq!(without.unwrap_err().code(), Some(ErrorCode::NoAuth));
    let (wrong, _) = tokio::join!(Client::connect(with("shut")), server.accept());
    assert_eq!(wrong.unwrap_err().code(), Some(ErrorCode::WrongPass));
    let (right, _peer) = tokio::join!(Client::connect(with("open")), server.accept());
    right.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let asked = tokio::spawn(async move { client.command(&["ECHO"]).await });
    peer.next().await.unwrap();
    peer.send_bytes(&[0, 0, 0, 0, 0x82, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await;
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_request_larger_than_the_server_takes_is_not_sent() {
    let server = FakeServer::start().await;
    let (client, _peer) = pair(&server).await;
    let large = vec![b'x'; 1 << 20];
    let error = client.command(&[b"ECHO", &large[..]]).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}

fn answers(rows: usize) -> Answers {
    let mut values = Values::ints(rows);
    let mut means = Values::doubles(rows);
    for row in 0..i32::try_from(rows).unwrap() {
        values.push(Value::Int(i64::from(row)));
        means.push(if row == 1 { Value::Nil } else { Value::Double(f64::from(row) / 2.0) });
    }
    let bounds = vec![WindowBounds { start: Some(0), end: 60 }];
    let column = |values| AnswerColumn {
        values,
        statuses: vec![Status::Ok; rows],
        bounds: bounds.clone(),
        tiles_read: vec![3; rows],
    };
    Answers { rows, columns: vec![column(values), column(means)] }
}

/// Answers PREPARE and READ, and tells how often each came.
async fn serve_reads(peer: &mut FakePeer, plan: u32, reads_max: usize) -> (usize, usize, usize) {
    let (mut prepares, mut reads, mut releases) = (0, 0, 0);
    while let Some((id, request)) = peer.next().await {
        match request {
            Request::Prepare(asked) => {
                prepares += 1;
                let columns = u32::try_from(asked.groups[0].1.len()).unwrap();
                peer.answer(id, &Response::Plan(PlanReply { plan, columns })).await;
            }
            Request::Read(read) => {
                assert_eq!(read.plan, plan, "a read names the plan of its connection");
                reads += 1;
                if reads_max < reads {
                    break;
                }
                let mut bytes = bytes::BytesMut::new();
                let answers = answers(read.keys.len());
                let status = read.with_status;
                tilekv_protocol::native::encode_answers(id, &answers, status, &mut bytes).unwrap();
                peer.send_bytes(&bytes).await;
            }
            Request::Release(number) => {
                assert_eq!(number, plan);
                releases += 1;
                peer.answer(id, &Response::Done).await;
            }
            other => panic!("{other:?}"),
        }
    }
    (prepares, reads, releases)
}

#[tokio::test]
async fn a_plan_is_prepared_once_on_each_connection() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let wanted = PlanBuilder::new().view("likes", ["likes@1h", "mean@1h"]).unwrap();
    let ask = async {
        let plan = client.prepare(wanted).await.unwrap();
        for _ in 0..4 {
            let options = ReadOptions::at(5).with_status();
            let batch = plan.read(&["u:1", "u:2", "u:3"], &options).await.unwrap();
            let likes: Vec<_> = batch.column(0).i64s().unwrap().collect();
            assert_eq!(likes, [Some(0), Some(1), Some(2)]);
            let mean = batch.column(1);
            assert_eq!(mean.f64s().unwrap().collect::<Vec<_>>(), [Some(0.0), None, Some(1.0)]);
            assert!(mean.i64s().is_none(), "doubles are no integers");
            assert_eq!(mean.selector().to_string(), "mean@1h");
            assert_eq!(mean.status(2), Some(Status::Ok));
            assert_eq!(mean.bounds(2), Some(WindowBounds { start: Some(0), end: 60 }));
            assert_eq!(mean.tiles_read(0), Some(3));
        }
        drop(plan);
        drop(client);
    };
    let serve = async {
        // The third read is not answered: the connection ends in its place.
        assert_eq!(serve_reads(&mut peer, 7, 2).await, (1, 3, 0));
        drop(peer);
        let mut peer = server.accept().await;
        serve_reads(&mut peer, 0, 9).await
    };
    let ((), (prepares, reads, _)) = tokio::join!(ask, serve);
    assert_eq!((prepares, reads), (1, 2));
}

#[tokio::test]
async fn a_plan_that_nobody_holds_is_released() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let ask = async {
        let wanted = PlanBuilder::new().view("likes", ["likes@1h", "mean@1h"]).unwrap();
        let plan = client.prepare(wanted).await.unwrap();
        let other = plan.clone();
        drop(plan);
        other.read(&["u:1"], &ReadOptions::NOW).await.unwrap();
        drop(other);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
    };
    let (served, ()) = tokio::join!(serve_reads(&mut peer, 7, 9), ask);
    assert_eq!(served, (1, 1, 1));
}

#[tokio::test]
async fn a_plan_that_the_server_forgot_is_prepared_again() {
    let server = FakeServer::start().await;
    let (client, mut peer) = pair(&server).await;
    let ask = async {
        let wanted = PlanBuilder::new().view("likes", ["likes@1h", "mean@1h"]).unwrap();
        let plan = client.prepare(wanted).await.unwrap();
        plan.read(&["u:1"], &ReadOptions::NOW).await.unwrap();
        drop((plan, client));
    };
    let serve = async {
        let (id, _) = peer.next().await.unwrap();
        peer.answer(id, &Response::Plan(PlanReply { plan: 3, columns: 2 })).await;
        let (id, _) = peer.next().await.unwrap();
        let refusal = ErrorReply::usage("plan 3 is not prepared");
        peer.answer(id, &Response::refusal(refusal)).await;
        let (id, release) = peer.next().await.unwrap();
        assert_eq!(release, Request::Release(3));
        peer.answer(id, &Response::Done).await;
        serve_reads(&mut peer, 4, 9).await
    };
    let ((), (prepares, reads, _)) = tokio::join!(ask, serve);
    assert_eq!((prepares, reads), (1, 1));
}
