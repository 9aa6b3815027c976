//! People, roles, members, the tree of organizations, and acting in another one.

mod grants;
mod members;
mod reach;
mod roles;
mod switch;
mod tree;
mod users;

use crate::support::{Reply, Server, tokens};
use axum::http::{Method, StatusCode};
use bifrost_test_support::{TestDatabase, lines};
use serde_json::{Value, json};

const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const PASSWORD: &str = "a long password";

/// Somebody signed in.
struct Person {
    id: String,
    token: String,
}

/// A server with its administrator and two companies.
struct House {
    server: Server,
    admin: String,
    acme: String,
    other: String,
}

impl House {
    async fn new(db: TestDatabase) -> Self {
        let server = Server::on(db).await;
        let (admin, _) = server.admin().await;
        let acme = server.organization(&admin, "Acme").await;
        let other = server.organization(&admin, "Other").await;
        Self { server, admin, acme, other }
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.server.ask(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
    }

    /// Asks in an organization.
    async fn ask_in(
        &self,
        organization: &str,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-organization-id", organization)];
        self.server.ask(method, path, &headers, body).await
    }

    async fn patch(&self, token: &str, path: &str, body: Value) -> Reply {
        self.ask(token, Method::PATCH, path, Some(body)).await
    }

    async fn delete(&self, token: &str, path: &str) -> Reply {
        self.ask(token, Method::DELETE, path, None).await
    }

    /// Makes an organization of a kind below another one.
    async fn organization(&self, name: &str, kind: &str, parent: Option<&str>) -> String {
        let body = json!({"name": name, "kind": kind, "parent_id": parent});
        let made = self.server.post("/api/organizations", &self.admin, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        id_of(&made.json())
    }

    /// Makes somebody: his id.
    async fn make(&self, body: Value) -> String {
        let made = self.server.post("/api/users", &self.admin, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        id_of(&made.json())
    }

    async fn sign_in(&self, email: &str) -> String {
        tokens(&self.server.login(email, PASSWORD).await).0
    }

    /// A person of an organization, signed in.
    async fn person(&self, email: &str, home: &str, rank: &str) -> Person {
        let id = self.make(json!({"email": email, "password": PASSWORD, "organization_id": home})).await;
        self.rank(home, &id, rank).await;
        Person { token: self.sign_in(email).await, id }
    }

    /// Another platform admin, signed in.
    async fn platform_admin(&self, email: &str) -> Person {
        let id = self.make(json!({"email": email, "password": PASSWORD, "is_superuser": true})).await;
        Person { token: self.sign_in(email).await, id }
    }

    async fn rank(&self, organization: &str, user: &str, rank: &str) {
        let path = format!("/api/organizations/{organization}/members/{user}");
        let done = self.ask(&self.admin, Method::PUT, &path, Some(json!({"role": rank}))).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    }

    /// A second goes by: what is cached of sessions is asked again.
    fn a_second_later(&self) {
        self.server.clock.advance(chrono::Duration::seconds(1));
    }

    /// Who is signed in.
    async fn me(&self, token: &str) -> Value {
        self.server.get("/auth/me", token).await.json()
    }

    /// What the audit log says that an action changed, oldest first.
    async fn audited(&self, action: &str) -> Vec<Value> {
        let sql = format!(
            "SELECT CAST(changes AS text) AS line FROM audit_logs WHERE action = '{action}' AND changes IS NOT NULL ORDER BY id"
        );
        let found = lines(self.server.store.db(), &sql).await;
        found.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn id_of(object: &Value) -> String {
    object["id"].as_str().expect("an id").to_owned()
}

fn ids_of(list: &Reply) -> Vec<String> {
    list.json().as_array().expect("an array").iter().map(id_of).collect()
}

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn field(path: &str, code: &str) -> [(String, String); 1] {
    [(path.to_owned(), code.to_owned())]
}
