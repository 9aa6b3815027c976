//! A server without a socket: the router, its store, a clock to move, and short ways to ask.

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::Response,
};
use bifrost_adapters::{broker, bus, files::Folders, limits, objects, oidc::HttpsWeb};
use bifrost_api::{
    ApiParts, ApiSettings, ApiState,
    health::{CachedProbes, Probes},
};
use bifrost_app::{
    App, Doors, Limits,
    accounts::Accounts,
    auth::{Auth, AuthSettings, DevUser, Environment, mfa::Mfa},
    branding::PlatformBranding,
    cipher::Cipher,
    identity_providers::{IdentityProviders, ProviderParts},
    images::Images,
    machines::Machines,
    members::Members,
    organizations::Organizations,
    roles::Roles,
    users::Users,
};
use bifrost_domain::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    ids::{OrganizationId, UserId},
    policy::{Caller, Permit, actions::ReadAudit, authorize},
    rights::{MembershipRole, MembershipSource},
    user::{User, UserType},
};
use bifrost_storage::{Store, memberships::Membership};
use bifrost_test_support::{MovableClock, TestDatabase, lines, password_hash};
use secrecy::SecretBox;
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

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
    /// Of new roles.
    pub(crate) role_ids: Arc<dyn Ids>,
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
    /// On SQLite: for what does not hang on the database. Cases whose code asks it for more than rows by their id (tenants, lists,
    /// locks, JSON) take a [`TestDatabase`] and stand in `on_both_databases!`.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As [`Server::start`].
    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::on_with(TestDatabase::sqlite().await, change).await
    }

    /// On the database of a case.
    pub(crate) async fn on(db: TestDatabase) -> Self {
        Self::on_with(db, |_| {}).await
    }

    /// As [`Server::on`].
    pub(crate) async fn on_with(db: TestDatabase, change: impl FnOnce(&mut Setup)) -> Self {
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
            role_ids: Arc::new(SystemIds),
        };
        change(&mut setup);
        let (store, clock, ids) = (db.store(), Arc::new(MovableClock::default()), Arc::new(SystemIds));
        // Runs lie in the day of their id, and ids are of today, whatever the clock of a test says.
        let now = SystemClock.now();
        store.ensure_partitions(now, now + chrono::Duration::days(1)).await.expect("partitions");
        let auth = Arc::new(Auth::new(store.clone(), clock.clone(), ids.clone(), setup.auth));
        if setup.dev_user {
            auth.ensure_dev_user().await.expect("the development user");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let cipher = Arc::new(Cipher::new(&SecretBox::new(Box::new([7; 32]))));
        let images = Images::default();
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
                cipher: cipher.clone(),
            },
            Limits::default(),
        );
        let providers = Arc::new(IdentityProviders::new(ProviderParts {
            store: store.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            cipher: Arc::new(Cipher::new(&SecretBox::new(Box::new([7; 32])))),
            web: Arc::new(HttpsWeb::new().expect("TLS")),
            auth: Arc::clone(&auth),
            public_url: setup.api.public_url.clone(),
        }));
        let state = ApiState::new(ApiParts {
            app: Arc::clone(&app),
            auth: Arc::clone(&auth),
            mfa: Mfa::new(Arc::clone(&auth), cipher),
            accounts: Accounts::new(store.clone(), clock.clone(), ids.clone(), images.clone()),
            branding: PlatformBranding::new(store.clone(), clock.clone(), ids.clone(), images),
            providers,
            organizations: Organizations::new(store.clone(), clock.clone(), ids.clone()),
            members: Members::new(store.clone(), clock.clone(), ids.clone()),
            users: Users::new(
                store.clone(),
                Arc::clone(&auth),
                clock.clone(),
                ids.clone(),
                chrono::Duration::days(30),
            ),
            roles: Roles::new(store.clone(), clock.clone(), setup.role_ids),
            machines: Arc::new(Machines::new(store.clone(), clock.clone(), ids.clone(), Arc::clone(&auth))),
            reader: store.reader(),
            settings: setup.api,
            health: setup.health,
            limiter: Arc::new(limits::InProcess::new()),
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

    /// A member of an organization, signed in: the access token.
    pub(crate) async fn person(&self, email: &str, home: &str) -> String {
        self.ranked(email, home, MembershipRole::Member).await
    }

    /// A person of an organization with a rank, signed in: the access token.
    pub(crate) async fn ranked(&self, email: &str, home: &str, role: MembershipRole) -> String {
        let now = self.clock.now();
        let home: OrganizationId = home.parse().expect("an id");
        let user = User {
            id: UserId::from_uuid(SystemIds.next()),
            email: email.to_owned(),
            name: None,
            user_type: UserType::Org,
            organization_id: Some(home),
            is_active: true,
            is_superuser: false,
            is_verified: false,
            is_registered: true,
            epoch: 0,
            last_login: None,
            purge_at: None,
            created_at: now,
            updated_at: now,
        };
        let tx = self.store.db().begin().await.expect("begin");
        let hash = password_hash("a long password");
        tx.insert_user(&user, Some(&hash)).await.expect("insert the user");
        let membership = Membership {
            user_id: user.id,
            organization_id: home,
            via: home,
            role,
            source: MembershipSource::Direct,
            attributes: serde_json::json!({}),
            created_by: None,
            created_at: now,
            updated_at: now,
        };
        tx.lock_tree().await.expect("locked");
        tx.write_membership(&membership).await.expect("insert the membership");
        tx.inherit(now).await.expect("inherited");
        tx.commit().await.expect("commit");
        tokens(&self.login(email, "a long password").await).0
    }

    /// Suspends somebody: his sessions end.
    pub(crate) async fn suspend(&self, email: &str) {
        let found = self.store.reader().find_credentials(&email.parse().expect("an address")).await;
        let user = found.expect("read").expect("somebody").user;
        let tx = self.store.db().begin().await.expect("begin");
        assert!(tx.set_user_active(user.id, false, self.clock.now()).await.expect("suspended"));
        tx.commit().await.expect("commit");
    }

    /// Waits until the audit log has so many lines of an action, or more.
    pub(crate) async fn until_audited(&self, action: &str, count: usize) {
        let permit = auditor(self);
        for _ in 0..200 {
            let lines = self.store.reader().list_audit(&permit, None, 1_000).await.expect("read");
            if lines.iter().filter(|line| line.action == action).count() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the audit log has not {count} lines of {action}");
    }

    /// An id as it stands in SQL.
    pub(crate) fn sql_id(&self, id: &str) -> String {
        let id: Uuid = id.parse().expect("an id");
        if self.store.db().is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.simple()) }
    }

    /// Makes a form of an organization, or a global one, which no route does yet.
    pub(crate) async fn make_form(&self, id: &str, organization: Option<&str>) {
        let now = self.clock.now().to_rfc3339();
        let home = organization.map_or_else(|| "NULL".to_owned(), |id| self.sql_id(id));
        let id = self.sql_id(id);
        let sql = format!(
            "INSERT INTO forms (id, organization_id, name, form_schema, access_level, is_active, created_at, updated_at) \
             VALUES ({id}, {home}, 'F', '{{}}', 'role_based', TRUE, '{now}', '{now}') RETURNING name AS line"
        );
        assert_eq!(lines(self.store.db(), &sql).await, ["F"]);
    }

    /// Makes an organization: its id.
    pub(crate) async fn organization(&self, token: &str, name: &str) -> String {
        let reply = self.post("/api/organizations", token, serde_json::json!({"name": name})).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.json()["id"].as_str().expect("an id").to_owned()
    }
}

/// What lets tests read the whole audit log.
pub(crate) fn auditor(server: &Server) -> Permit<ReadAudit> {
    let now = server.clock.now();
    let admin = User {
        id: UserId::from_uuid(SystemIds.next()),
        email: "auditor@localhost".to_owned(),
        name: None,
        user_type: UserType::Platform,
        organization_id: None,
        is_active: true,
        is_superuser: true,
        is_verified: true,
        is_registered: true,
        epoch: 0,
        last_login: None,
        purge_at: None,
        created_at: now,
        updated_at: now,
    };
    let admin = Caller::of_user(&admin, &Arc::default(), None, None).expect("a caller");
    authorize(&admin).expect("an admin may")
}

pub(crate) fn tokens(reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    let body = reply.json();
    let text = |name: &str| body[name].as_str().expect("a token").to_owned();
    (text("access_token"), text("refresh_token"))
}
