//! The stub against small name servers on this machine.

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;

type Script = dyn Fn(&str, RecordType) -> (ResponseCode, Vec<Record>) + Send + Sync;

struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

/// Serves `script` by UDP and TCP on one port; `cut` makes every UDP answer say "ask by TCP".
fn serve(cut: bool, script: Arc<Script>) -> Server {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let for_udp = Arc::clone(&script);
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = answer(&buffer[..length], &*for_udp, cut);
            let _ = udp.send_to(&answer, peer);
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question, &*script, false);
            let length = u16::try_from(answer.len()).unwrap();
            stream.write_all(&length.to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    Server { port, asked }
}

fn answer(question: &[u8], script: &Script, cut: bool) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let mut message = Message::response(question.metadata.id, OpCode::Query);
    let (code, records) = script(&query.name().to_ascii(), query.query_type());
    message.add_query(query);
    message.metadata.response_code = code;
    message.metadata.truncation = cut;
    if !cut {
        message.add_answers(records);
    }
    message.to_vec().unwrap()
}

fn a(name: &str, last: u8) -> Record {
    let name = Name::from_ascii(name).unwrap();
    Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, last)))
}

fn stub(dir: &tempfile::TempDir, port: u16, resolv_conf: &str) -> Stub {
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        path
    };
    Stub::new(DnsConfig {
        hosts: write("hosts", "192.0.2.99 listed.test\n"),
        resolv_conf: write("resolv.conf", resolv_conf),
        port,
    })
}

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn follows_aliases_and_the_search_list_and_remembers() {
    let server = serve(
        false,
        Arc::new(|name, kind| match (name, kind) {
            ("short.corp.test.", RecordType::A) => {
                let target = Name::from_ascii("real.test.").unwrap();
                let owner = Name::from_ascii("short.corp.test.").unwrap();
                let alias = Record::from_rdata(owner, 60, RData::CNAME(CNAME(target)));
                (
                    ResponseCode::NoError,
                    vec![alias, a("real.test.", 1), a("unasked.test.", 66)],
                )
            }
            ("short.corp.test.", _) => (ResponseCode::NoError, vec![]),
            _ => (ResponseCode::NXDomain, vec![]),
        }),
    );
    let dir = tempfile::tempdir().unwrap();
    let stub = stub(
        &dir,
        server.port,
        "nameserver 127.0.0.1\nsearch none.test corp.test\n",
    );
    let expected: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
    assert_eq!(stub.lookup("short", LIMIT).unwrap(), expected);
    let asked = server.asked.load(Ordering::SeqCst);
    assert_eq!(stub.lookup("SHORT", LIMIT).unwrap(), expected);
    assert_eq!(
        server.asked.load(Ordering::SeqCst),
        asked,
        "the second lookup asks nobody"
    );
    assert!(matches!(
        stub.lookup("missing.test", LIMIT),
        Err(DnsError::NoSuchHost)
    ));
    assert_eq!(stub.lookup("listed.test", LIMIT).unwrap().len(), 1);
    assert_eq!(stub.lookup("x.localhost", LIMIT).unwrap().len(), 2);
    assert_eq!(stub.lookup("[::1]", LIMIT).unwrap().len(), 1);
}

#[test]
fn asks_by_tcp_what_was_cut_and_keeps_ipv4_if_ipv6_fails() {
    let server = serve(
        true,
        Arc::new(|name, kind| match kind {
            RecordType::A => (ResponseCode::NoError, vec![a(name, 2), a(name, 3)]),
            _ => (ResponseCode::ServFail, vec![]),
        }),
    );
    let dir = tempfile::tempdir().unwrap();
    let stub = stub(&dir, server.port, "nameserver 127.0.0.1\n");
    assert_eq!(stub.lookup("big.test", LIMIT).unwrap().len(), 2);
}

#[test]
fn a_failing_or_silent_server_is_a_typed_error_in_time() {
    let server = serve(false, Arc::new(|_, _| (ResponseCode::ServFail, vec![])));
    let dir = tempfile::tempdir().unwrap();
    let failing = stub(
        &dir,
        server.port,
        "nameserver 127.0.0.1\noptions attempts:1\n",
    );
    assert!(matches!(
        failing.lookup("a.test", LIMIT),
        Err(DnsError::NoAnswer { .. })
    ));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let started = Instant::now();
    let quiet = stub(&dir, port, "nameserver 127.0.0.1\n");
    let error = quiet
        .lookup("a.test", Duration::from_millis(300))
        .unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(started.elapsed() < Duration::from_secs(3));
}
