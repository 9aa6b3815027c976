//! Requests that no well-behaved client sends: each has a clear answer, none is a fault of the server's, and the server goes on.

use crate::{
    in_both_modes,
    support::{
        World,
        raw::{RawReply, exchange, exchange_in_two, request},
    },
};
use serde_json::{Value, json};
use std::net::SocketAddr;

in_both_modes!(what_no_client_sends_is_answered);

const EXECUTE: &str = "/api/workflows/execute";
const JSON: &str = "content-type: application/json";
/// Largest body, as nothing else is set.
const LIMIT: usize = 10 * 1024 * 1024;

async fn what_no_client_sends_is_answered(world: &mut World) {
    let admin = world.admin().await;
    let token = format!("authorization: Bearer {}", admin.token.as_deref().expect("a token"));
    let pid = world.api.as_ref().expect("it runs").pid();
    let server = Server { address: world.address(), token };
    server.bodies().await;
    server.sizes().await;
    server.lines().await;
    server.heads().await;
    // The same process, and well.
    assert_eq!(world.api.as_ref().expect("it runs").pid(), pid);
    assert_eq!(admin.run("add", json!({"a": 1})).await["result"], json!({"sum": 3}));
    assert_eq!(world.nobody().get("/health/ready").await.of(200)["status"], "healthy");
}

struct Server {
    address: SocketAddr,
    token: String,
}

/// Checks one answer: its status, and that an error is a problem whose text says something.
#[track_caller]
fn check(name: &str, reply: &RawReply, status: u16, says: &str) {
    assert_eq!(reply.status, status, "{name}: {}", reply.body);
    if status < 400 {
        return;
    }
    let problem: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{name}: {}", reply.body);
    assert_eq!(problem["status"], status, "{name}: {}", reply.body);
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(says), "{name}: `{detail}` does not say `{says}`");
}

impl Server {
    /// The only answer to a request.
    async fn ask(&self, name: &str, bytes: &[u8]) -> RawReply {
        let mut replies = exchange(self.address, bytes).await;
        assert_eq!(replies.len(), 1, "{name}: {replies:?}");
        replies.remove(0)
    }

    async fn execute(&self, name: &str, headers: &[&str], body: &[u8]) -> RawReply {
        let headers: Vec<&str> = headers.iter().copied().chain([self.token.as_str()]).collect();
        self.ask(name, &request("POST", EXECUTE, &headers, body)).await
    }

    async fn bodies(&self) {
        let add = |input: &str| format!("{{\"workflow_name\":\"add\",\"input_data\":{input}}}").into_bytes();
        let deep = |levels: usize| add(&format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels)));
        let many: Vec<String> = (0..10_000).map(|n| format!("\"key{n}\":{n}")).collect();
        let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (name, body, status, says) in [
            ("nothing", Vec::new(), 400, "not JSON"),
            ("blanks", b"  \n ".to_vec(), 400, "not JSON"),
            ("cut off", b"{\"workflow_name\":\"ad".to_vec(), 400, "not JSON"),
            ("two values", b"{} {}".to_vec(), 400, "not JSON"),
            ("a comma too many", b"{\"workflow_name\":\"add\",}".to_vec(), 400, "not JSON"),
            ("a list", b"[1]".to_vec(), 422, "must be an object"),
            ("null", b"null".to_vec(), 422, "must be an object"),
            (
                "bytes that are no UTF-8",
                b"{\"workflow_name\":\"a\xff\"}".to_vec(),
                400,
                "not UTF-8 (byte 19)",
            ),
            ("UTF-16", utf16, 400, "not JSON"),
            ("half a surrogate", b"{\"workflow_name\":\"\\ud800\"}".to_vec(), 400, "not JSON"),
            ("NUL in a text", b"{\"workflow_name\":\"a\0b\"}".to_vec(), 400, "not JSON"),
            ("NUL escaped in a name", b"{\"workflow_name\":\"a\\u0000b\"}".to_vec(), 422, "workflow_name"),
            ("a mark of byte order alone", b"\xef\xbb\xbf".to_vec(), 400, "not JSON"),
            (
                "a mark of byte order before JSON",
                [b"\xef\xbb\xbf".to_vec(), add("{\"a\":1}")].concat(),
                200,
                "",
            ),
            (
                "a field twice",
                b"{\"workflow_name\":\"add\",\"workflow_name\":\"who\"}".to_vec(),
                422,
                "more than once",
            ),
            ("a key of the input twice", add("{\"a\":5,\"a\":1}"), 200, ""),
            ("nested 126 deep", deep(124), 422, "must be a whole number"),
            ("nested 128 deep", deep(126), 422, "nested deeper"),
            ("nested 10,000 deep", deep(10_000), 422, "nested deeper"),
            ("nested 100,000 deep", deep(100_000), 422, "nested deeper"),
            ("100,000 opened", add(&format!("{{\"a\":{}", "[".repeat(100_000))), 422, "nested deeper"),
            ("1e400", add("{\"a\":1e400}"), 422, "too large"),
            ("-1e400", add("{\"a\":-1e400}"), 422, "too large"),
            ("1e-400 is zero", add("{\"a\":1e-400}"), 200, ""),
            ("100,000 digits", add(&format!("{{\"a\":{}}}", "9".repeat(100_000))), 422, "too large"),
            ("over 64 bits", add("{\"a\":123456789012345678901}"), 422, "must be a whole number"),
            ("10,000 keys", add(&format!("{{{}}}", many.join(","))), 422, "more than 1000 keys"),
            (
                "code with 10,000 keys",
                format!("{{\"code\":\"cGFzcw==\",\"input_data\":{{{}}}}}", many.join(",")).into_bytes(),
                422,
                "more than 1000 keys",
            ),
        ] {
            check(name, &self.execute(name, &[JSON], &body).await, status, says);
        }
        let good = add("{\"a\":1}");
        for (name, headers, says) in [
            ("no type", vec![], "application/json"),
            ("text", vec!["content-type: text/plain"], "application/json"),
            ("a form", vec!["content-type: application/x-www-form-urlencoded"], "application/json"),
            ("parts", vec!["content-type: multipart/form-data; boundary=x"], "application/json"),
            ("nonsense", vec!["content-type: ;;;"], "application/json"),
            ("packed", vec![JSON, "content-encoding: gzip"], "Content-Encoding"),
            ("packed twice", vec![JSON, "content-encoding: identity, br"], "Content-Encoding"),
        ] {
            check(name, &self.execute(name, &headers, &good).await, 415, says);
        }
        for headers in [["content-type: application/json; charset=utf-8"], ["content-type: Application/JSON"]]
        {
            check("JSON", &self.execute("JSON", &headers, &good).await, 200, "");
        }
        let login = async |body: &[u8]| {
            let form = ["content-type: application/x-www-form-urlencoded"];
            self.ask("a form", &request("POST", "/auth/login", &form, body)).await
        };
        check("an empty form", &login(b"").await, 422, "username");
        check("a form without fields", &login(b"a=1").await, 422, "username");
        check("a form that is no UTF-8", &login(b"username=%ff&password=%ff").await, 401, "incorrect");
        check("100,000 fields", &login(&b"a&".repeat(100_000)).await, 413, "65536 bytes");
    }

    async fn sizes(&self) {
        let says = format!("{LIMIT} bytes");
        let head = format!("POST {EXECUTE} HTTP/1.1\r\nhost: localhost\r\n{}\r\n{JSON}\r\n", self.token);
        let health = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        // Sent whole before the answer is looked at: the connection goes on with the next request.
        for (name, body) in [("one byte more", LIMIT + 1), ("three times", LIMIT * 3)] {
            let mut bytes = format!("{head}content-length: {body}\r\n\r\n").into_bytes();
            bytes.resize(bytes.len() + body, b' ');
            bytes.extend_from_slice(health.as_bytes());
            let replies = exchange(self.address, &bytes).await;
            assert_eq!(replies.len(), 2, "{name}: {replies:?}");
            check(name, &replies[0], 413, &says);
            check(name, &replies[1], 200, "");
        }
        // Without an announced length.
        let mut bytes = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..20 {
            bytes.extend_from_slice(format!("{:x}\r\n{}\r\n", LIMIT / 10, " ".repeat(LIMIT / 10)).as_bytes());
        }
        bytes.extend_from_slice(format!("0\r\n\r\n{health}").as_bytes());
        let replies = exchange(self.address, &bytes).await;
        assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [413, 200], "{replies:?}");
        check("chunked", &replies[0], 413, &says);
        // Refused for another reason while the body is still to come.
        let mut bytes = format!(
            "POST {EXECUTE} HTTP/1.1\r\nhost: localhost\r\n{JSON}\r\ncontent-length: 5000000\r\n\r\n"
        )
        .into_bytes();
        bytes.resize(bytes.len() + 5_000_000, b' ');
        bytes.extend_from_slice(health.as_bytes());
        let replies = exchange(self.address, &bytes).await;
        assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [401, 200], "{replies:?}");
        // Who asks before sending is answered before sending.
        let ask = format!("{head}connection: close\r\nexpect: 100-continue\r\ncontent-length: ");
        let (at_once, _) =
            exchange_in_two(self.address, format!("{ask}{}\r\n\r\n", LIMIT + 1).as_bytes(), b"").await;
        assert!(at_once.starts_with("HTTP/1.1 413"), "{at_once}");
        let body = b"{\"workflow_name\":\"add\",\"input_data\":{\"a\":1}}";
        let head = format!("{ask}{}\r\n\r\n", body.len());
        let (at_once, replies) = exchange_in_two(self.address, head.as_bytes(), body).await;
        assert_eq!(at_once, "HTTP/1.1 100 Continue\r\n\r\n");
        check("continued", &replies[0], 200, "");
    }

    /// Methods, addresses, queries.
    async fn lines(&self) {
        let id = "01900000-0000-7000-8000-000000000000";
        let many: String = (0..1_000).map(|n| format!("p{n}&")).collect();
        let long = "x".repeat(9_000);
        for (method, path, status, says) in [
            ("GET", "/nothing", 404, "nothing here"),
            ("GET", "/api/workflows/", 404, "nothing here"),
            ("GET", "//api/workflows", 404, "nothing here"),
            ("GET", "/api/../auth/me", 404, "nothing here"),
            ("GET", "/../../etc/passwd", 404, "nothing here"),
            ("GET", "/docs/..%2f..%2f..%2fetc%2fpasswd", 404, "nothing here"),
            ("GET", "/docs/%2e%2e/%2e%2e/etc/passwd", 404, "nothing here"),
            ("GET", format!("/api/executions/{id}").as_str(), 404, "execution not found"),
            ("GET", "/api/executions/7", 422, "`id`"),
            ("GET", "/api/executions/%zz", 422, "`id`"),
            ("GET", "/api/executions/%00", 422, "`id`"),
            ("GET", "/api/executions/%ff%fe", 400, "not UTF-8"),
            ("GET", "/api/executions/..%2f..%2fetc/result", 422, "`id`"),
            ("GET", "/api/executions?limit=%zz", 422, "`limit`"),
            ("GET", "/api/executions?limit=1&limit=2", 422, "`limit`"),
            ("GET", "/api/executions?limit=99999999999999999999", 422, "`limit`"),
            ("GET", "/api/executions?q=%ff%00", 422, "`q`"),
            ("GET", "/api/executions?%=%&&==&q", 200, ""),
            ("GET", format!("/api/executions?{many}").as_str(), 200, ""),
            ("GET", format!("/api/executions?q={long}").as_str(), 414, "8192 bytes"),
            ("GET", format!("/{long}").as_str(), 414, "8192 bytes"),
            ("DELETE", "/api/executions", 405, "Allow"),
            ("TRACE", "/health", 405, "Allow"),
            ("BREW", "/health", 405, "Allow"),
            ("OPTIONS", "/health", 405, "Allow"),
            ("GET", EXECUTE, 405, "Allow"),
        ] {
            let name = format!("{method} {}", &path[..path.len().min(60)]);
            let reply = self.ask(&name, &request(method, path, &[&self.token], b"")).await;
            check(&name, &reply, status, says);
            assert!(!reply.body.contains("root:"), "{name}: {}", reply.body);
            if status == 405 {
                assert!(reply.header("allow").is_some_and(|allow| !allow.is_empty()), "{name}: {reply:?}");
            }
        }
        let head = self.ask("HEAD", &request("HEAD", "/health", &[], b"")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let absolute = self.ask("absolute", &request("GET", "http://localhost/health", &[], b"")).await;
        assert_eq!(absolute.status, 200);
        for (method, target) in [("OPTIONS", "*"), ("CONNECT", "localhost:22")] {
            let reply = self.ask(method, &request(method, target, &[], b"")).await;
            assert!((400..500).contains(&reply.status), "{method} {target}: {reply:?}");
        }
        let long = "x".repeat(100_000);
        let reply = self.ask("100 KB", &request("GET", &format!("/{long}"), &[], b"")).await;
        assert!([400, 414, 431].contains(&reply.status), "{reply:?}");
    }

    /// What is wrong with the head itself is refused below the routes, some of it without a text; never with another's request.
    async fn heads(&self) {
        let large = format!("x-large: {}", "x".repeat(40_000));
        let reply = self.ask("40 KB of headers", &request("GET", "/health", &[&large], b"")).await;
        check("40 KB of headers", &reply, 431, "32768 bytes");
        let huge = format!("x-huge: {}", "x".repeat(2_000_000));
        // Closed while the client still sends: it may not see the answer.
        let replies = exchange(self.address, &request("GET", "/health", &[&huge], b"")).await;
        assert!(replies.iter().all(|reply| reply.status == 431), "{replies:?}");
        let headers: Vec<String> = (0..500).map(|n| format!("x-{n}: y")).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let reply = self.ask("500 headers", &request("GET", "/health", &headers, b"")).await;
        assert_eq!(reply.status, 431, "{reply:?}");
        let post = |headers: &str, body: &str| {
            let token = &self.token;
            format!(
                "POST {EXECUTE} HTTP/1.1\r\nhost: localhost\r\n{token}\r\n{JSON}\r\n{headers}\r\n\r\n{body}"
            )
        };
        let closing = |headers: &str, body: &str| post(&format!("connection: close\r\n{headers}"), body);
        for (name, bytes) in [
            ("two lengths", closing("content-length: 2\r\ncontent-length: 3", "{}x")),
            ("two lengths in one", closing("content-length: 2, 3", "{}x")),
            ("a length that is none", closing("content-length: two", "{}")),
            ("a length below nothing", closing("content-length: -1", "{}")),
            ("a length past all bounds", closing("content-length: 99999999999999999999", "{}")),
            ("an unknown coding", closing("transfer-encoding: gzip", "{}")),
            ("a space before the colon", closing("content-length : 2", "{}")),
            ("a folded line", closing("x-folded: a\r\n b\r\ncontent-length: 2", "{}")),
            ("NUL in a header", closing("x-nul: a\0b\r\ncontent-length: 2", "{}")),
            ("no version", "GET /health\r\n\r\n".to_owned()),
            ("an unknown version", "GET /health HTTP/7.0\r\nhost: localhost\r\n\r\n".to_owned()),
            ("a method that is none", "G(T /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
            ("HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
            ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".to_owned()),
        ] {
            let replies = exchange(self.address, bytes.as_bytes()).await;
            assert!(replies.len() <= 1, "{name}: {replies:?}");
            for reply in &replies {
                assert!((400..500).contains(&reply.status) || reply.status == 505, "{name}: {reply:?}");
            }
        }
        // A chunk that is none is told where the body is read.
        let reply = self
            .ask(
                "a bad chunk",
                post("connection: close\r\ntransfer-encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n").as_bytes(),
            )
            .await;
        check("a bad chunk", &reply, 400, "broke off");
        // Length and chunks at a time: the chunks count (RFC 9112, 6.3), and nothing of the body is taken for a request.
        for headers in [
            "content-length: 4\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 4",
        ] {
            let smuggled = "0\r\n\r\nGET /nothing-of-ours HTTP/1.1\r\nhost: localhost\r\n\r\n";
            let replies = exchange(self.address, post(headers, smuggled).as_bytes()).await;
            let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
            assert_eq!(
                statuses,
                [400],
                "the body is empty, and the connection closes behind it: {replies:?}"
            );
        }
        // What follows a good request and is none ends the connection, after the good answer.
        let good = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let replies =
            exchange(self.address, format!("{good}\0\u{1}\u{2} nonsense\r\n\r\n{good}").as_bytes()).await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [200, 400], "{replies:?}");
        let replies = exchange(
            self.address,
            format!("{good}{good}GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [200, 200, 404], "several at a time are answered in order");
    }
}
