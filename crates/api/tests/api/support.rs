//! A server without a socket: the router, its store, a clock to move, and short ways to ask.

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::Response,
};
use bifrost_adapters::{broker, bus, files::Folders, objects};
use bifrost_api::{
    ApiParts, ApiSettings, ApiState,
    health::{CachedProbes, Probes},
};
use bifrost_app::{
    App, Doors, Limits,
    auth::{Auth, AuthSettings, DevUser, Environment},
    cipher::Cipher,
    organizations::Organizations,
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemIds},
    ids::{OrganizationId, UserId},
    user::{User, UserType},
};
use bifrost_storage::Store;
use bifrost_test_support::{MovableClock, TestDatabase};
use secrecy::SecretBox;
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const KEY: &str = "q8Zr2LwXc7VbN1mK5tYhG3fD9sJ4pA6e";

pub(crate) struct Server {
    router: Router,
    pub(crate) clock: Arc<MovableClock>,
    pub(crate) store: Store,
    pub(crate) auth: Arc<Auth>,
    pub(crate) app: Arc<App>,
    _db: TestDatabase,
    _folder: TempDir,
}

/// What a test changes before the server starts.
pub(crate) struct Setup {
    pub(crate) api: ApiSettings,
    pub(crate) auth: AuthSettings,
    pub(crate) health: Arc<dyn Probes>,
    pub(crate) dev_user: bool,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and `code` of a problem, checked to be one.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text);
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        assert!(
            body["title"].is_string() && body["type"] == "about:blank" && body["errors"].is_array(),
            "{body}"
        );
        (self.status.as_u16(), body["code"].as_str().expect("a code").to_owned())
    }

    /// Paths and codes of the bad fields.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let body = self.json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let errors = body["errors"].as_array().expect("errors");
        errors.iter().map(|error| (text(&error["path"]), text(&error["code"]))).collect()
    }

    /// The value of a cookie that was set, and its attributes.
    pub(crate) fn cookie(&self, name: &str) -> (String, String) {
        self.headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(|text| text.strip_prefix(name)?.strip_prefix('=')?.split_once("; "))
            .map(|(value, attributes)| (value.to_owned(), attributes.to_owned()))
            .unwrap_or_else(|| panic!("no cookie {name}: {:?}", self.headers))
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        let environment = Environment::Testing;
        let mut setup = Setup {
            api: ApiSettings::new(environment, "http://localhost:8000".parse().expect("a URL")),
            auth: AuthSettings {
                registration_enabled: true,
                dev_user: Some(DevUser { email: "admin@localhost".into(), password: "admin".into() }),
                ..AuthSettings::new(KEY.into(), environment)
            },
            health: Arc::new(CachedProbes::new(Vec::new())),
            dev_user: true,
        };
        change(&mut setup);
        let db = TestDatabase::sqlite().await;
        let (store, clock, ids) = (db.store(), Arc::new(MovableClock::default()), Arc::new(SystemIds));
        let auth = Arc::new(Auth::new(store.clone(), clock.clone(), ids.clone(), setup.auth));
        if setup.dev_user {
            auth.ensure_dev_user().await.expect("the development user");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let app = App::new(
            Doors {
                store: store.clone(),
                broker: Arc::new(broker::InProcess::new()),
                bus: Arc::new(bus::InProcess::new()),
                objects: Arc::new(objects::Folder::open(&folder.path().join("objects")).expect("a folder")),
                files: Arc::new(Folders::new(folder.path().join("workspace"), folder.path().join("files"))),
                inspector: None,
                clock: clock.clone(),
                ids: ids.clone(),
                cipher: Arc::new(Cipher::new(&SecretBox::new(Box::new([7; 32])))),
            },
            Limits::default(),
        );
        let state = ApiState::new(ApiParts {
            app: Arc::clone(&app),
            auth: Arc::clone(&auth),
            organizations: Organizations::new(store.clone(), clock.clone(), ids.clone()),
            reader: store.reader(),
            settings: setup.api,
            health: setup.health,
            clock: clock.clone(),
            ids,
        });
        Self { router: bifrost_api::router(state), clock, store, auth, app, _db: db, _folder: folder }
    }

    /// Serves on a socket, until the runtime ends.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = self.router.clone().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        address
    }

    /// Sends a request from this machine.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.respond(request).await.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    /// The answer as it is, its body still to be read.
    pub(crate) async fn respond(&self, mut request: Request<Body>) -> Response {
        let peer: SocketAddr = ([127, 0, 0, 1], 40_000).into();
        request.extensions_mut().insert(ConnectInfo(peer));
        self.router.clone().oneshot(request).await.expect("the router never fails")
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).expect("a request")).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.ask(Method::GET, path, &[("authorization", &format!("Bearer {token}"))], None).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, &[("authorization", &format!("Bearer {token}"))], Some(body)).await
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Reply {
        let form =
            serde_urlencoded::to_string([("username", username), ("password", password)]).expect("a form");
        let request = Request::post("/auth/login")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .expect("a request");
        self.send(request).await
    }

    /// Access and refresh token of an administrator.
    pub(crate) async fn admin(&self) -> (String, String) {
        tokens(&self.login("admin@localhost", "admin").await)
    }

    /// A person of an organization, signed in: the access token.
    pub(crate) async fn person(&self, email: &str, home: &str) -> String {
        let now = self.clock.now();
        let home: OrganizationId = home.parse().expect("an id");
        let stub = User {
            id: UserId::from_uuid(SystemIds.next()),
            email: email.to_owned(),
            name: None,
            user_type: UserType::Org,
            organization_id: Some(home),
            is_active: true,
            is_superuser: false,
            is_verified: false,
            is_registered: false,
            epoch: 0,
            last_login: None,
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await.expect("begin");
        tx.insert_user(&stub, None).await.expect("insert the stub");
        tx.commit().await.expect("commit");
        let body = serde_json::json!({"email": email, "password": "a long password"});
        let reply = self.ask(Method::POST, "/auth/register", &[], Some(body)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        tokens(&self.login(email, "a long password").await).0
    }

    /// Makes an organization: its id.
    pub(crate) async fn organization(&self, token: &str, name: &str) -> String {
        let reply = self.post("/api/organizations", token, serde_json::json!({"name": name})).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.json()["id"].as_str().expect("an id").to_owned()
    }
}

pub(crate) fn tokens(reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let body = reply.json();
    let text = |name: &str| body[name].as_str().expect("a token").to_owned();
    (text("access_token"), text("refresh_token"))
}
