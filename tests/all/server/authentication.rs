//! A server with a password: what goes without it, over RESP and the native protocol.

use tilekv_client::blocking::Client;
use tilekv_client::{ClientError, ClientOptions};
use tilekv_tests::native::{NativeConnection, command_payload, kind};
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::ServerCommand;

const NOAUTH: u16 = 13;
const WRONGPASS: u16 = 18;

#[test]
fn resp_clients_authenticate_first() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path()).variable("TILEKV_AUTH_PASSWORD", "secret");
    let server = command.start();
    let mut client = RespClient::connect(server.address());
    for line in ["PING", "VIEW.LIST", "CONFIG GET *", "HELLO 3", "MULTI", "CLIENT LIST", "SHUTDOWN"]
    {
        assert_eq!(client.call(line).code(), "NOAUTH", "{line}");
    }
    for line in [
        "AUTH wrong",
        "AUTH secre",
        "AUTH secrets",
        "AUTH nobody secret",
        "HELLO 3 AUTH default wrong",
        "HELLO 2 AUTH nobody secret",
    ] {
        assert_eq!(client.call(line).code(), "WRONGPASS", "{line}");
        assert_eq!(client.call("PING").code(), "NOAUTH", "after {line}");
    }
    for line in ["AUTH secret", "AUTH default secret"] {
        assert_eq!(client.call(line).to_string(), "+OK");
        assert_eq!(client.call("PING").to_string(), "+PONG");
        assert_eq!(client.call("AUTH wrong").code(), "WRONGPASS");
        assert_eq!(client.call("PING").to_string(), "+PONG", "a slip takes nothing away");
        assert_eq!(client.call("RESET").to_string(), "+RESET");
        assert_eq!(client.call("PING").code(), "NOAUTH", "after RESET");
    }
    let hello = client.call("HELLO 3 AUTH default secret SETNAME me").to_string();
    assert!(
        hello.starts_with("{\"server\"=\"redis\"") && hello.contains("\"proto\"=:3"),
        "{hello}"
    );
    assert_eq!(client.call("CLIENT GETNAME").to_string(), "\"me\"");
}

#[test]
fn little_is_read_before_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path()).variable("TILEKV_AUTH_PASSWORD", "secret");
    let server = command.start();
    for bytes in ["*17\r\n", "*2\r\n$4\r\nECHO\r\n$16385\r\n"] {
        let mut client = RespClient::connect(server.address());
        client.send(bytes.as_bytes());
        assert_eq!(client.receive().code(), "ERR", "{bytes}");
        assert!(client.is_closed(), "{bytes}");
    }
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call("AUTH secret").to_string(), "+OK");
    let long = "a".repeat(100_000);
    assert_eq!(client.call(&format!("ECHO {long}")).text(), long);
}

#[test]
fn native_clients_authenticate_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\nnot this line\n").unwrap();
    let flag = format!("--auth-password-file {}", file.display());
    let server = ServerCommand::new(folder.path()).flags(&flag).start();
    let mut connection = NativeConnection::connect(server.address());
    let early = connection.ask(kind::PING, 0, b"early");
    assert_eq!(early.error().code, NOAUTH, "before HELLO");
    let welcome = connection.ask(kind::HELLO, 0, &[0; 8]);
    assert_eq!((welcome.kind, welcome.payload[0]), (kind::WELCOME, 0));
    let command = connection.ask(kind::COMMAND, 0, &command_payload(&["VIEW.LIST"]));
    assert_eq!((command.error().code, command.error().is_closing), (NOAUTH, false));
    let wrong = connection.ask(kind::AUTH, 0, &credentials("", "wrong"));
    assert_eq!((wrong.error().code, wrong.error().is_closing), (WRONGPASS, false));
    let nobody = connection.ask(kind::AUTH, 0, &credentials("nobody", "secret"));
    assert_eq!(nobody.error().code, WRONGPASS);
    let done = connection.ask(kind::AUTH, 0, &credentials("", "secret"));
    assert_eq!(done.kind, kind::DONE);
    let listed = connection.ask(kind::COMMAND, 0, &command_payload(&["VIEW.LIST"]));
    assert_eq!(listed.kind, kind::VALUE);
}

#[test]
fn the_client_library_authenticates() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path()).variable("TILEKV_AUTH_PASSWORD", "secret");
    let server = command.start();
    let options = || ClientOptions::new(server.address().to_string());
    let client = Client::connect(options().with_password("secret")).unwrap();
    assert_eq!(client.view_names().unwrap(), []);
    let refused = |options| match Client::connect(options) {
        Err(error) => error,
        Ok(client) => client.view_names().unwrap_err(),
    };
    let error = refused(options().with_password("wrong"));
    assert!(matches!(error, ClientError::WrongPassword { .. }), "{error}");
    let error = refused(options());
    assert!(matches!(error, ClientError::NoAuth { .. }), "{error}");
}

/// The payload of AUTH.
fn credentials(user: &str, password: &str) -> Vec<u8> {
    let length = |text: &str| u16::try_from(text.len()).unwrap().to_le_bytes();
    let lengths = [length(user), length(password), [0; 2], [0; 2]].concat();
    [&lengths[..], user.as_bytes(), password.as_bytes()].concat()
}
