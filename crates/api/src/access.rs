//! Who may use a route: said where the route is declared, asked before its handler runs.
//!
//! Every route is wrapped by `public`, `live` or `allowed`. The wrapper asks, and writes what it asks into the document
//! (`x-permission`), so that the document and the check are one. A test walks the document: a route without it fails, and so does one
//! with an object in its path or a body that the attacks do not know (`tests/api/attacks`). A handler that takes [`SignedIn`] under
//! `public` gets nobody and answers 500.
//!
//! `docs/policy.md` is made from the same words ([`policy_table`]).

use crate::{
    answers,
    extract::{Asked, SignedIn},
    idempotency,
    problem::Problem,
    state::ApiState,
};
use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use bifrost_app::auth::Known;
use bifrost_domain::{
    error::Error,
    policy::{Action, Rule, actions, authorize},
};
use http::{Method, StatusCode};
use std::fmt::Write;
use utoipa::openapi::{OpenApi, extensions::ExtensionsBuilder, path::Operation};
use utoipa_axum::router::UtoipaMethodRouter;

/// The key in the document.
pub const KEY: &str = "x-permission";
/// What stands there for a route that needs nobody.
pub const PUBLIC: &str = "public";
/// What stands there for a live connection: who opens it is asked at its opening, each channel by itself, and all of it again every second.
pub const LIVE: &str = "live.use (asked at the opening, again for each channel, and every second)";

type Routes = UtoipaMethodRouter<ApiState>;

/// A route that needs nobody: it is open to everybody, or knows its callers by something else (a password, a key, a signature).
pub(crate) fn public(routes: Routes) -> Routes {
    described(routes, PUBLIC)
}

/// A live connection, which may be opened with a ticket.
pub(crate) fn live(routes: Routes) -> Routes {
    described(routes, LIVE)
}

/// A route for those who may do `A`.
pub(crate) fn allowed<A: Action>(routes: Routes) -> Routes {
    let (schemas, paths, methods) = described(routes, A::PERMISSION);
    (schemas, paths, methods.layer(from_fn(enforce::<A>)))
}

fn described((schemas, mut paths, methods): Routes, permission: &str) -> Routes {
    for (path, item) in &mut paths.paths {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.options,
            &mut item.head,
            &mut item.patch,
            &mut item.trace,
        ];
        for operation in operations.into_iter().flatten() {
            let said = ExtensionsBuilder::new().add(KEY, permission).build();
            operation.extensions.get_or_insert_default().merge(said);
            answers::common(operation, permission != PUBLIC && permission != LIVE);
        }
        if permission != PUBLIC
            && permission != LIVE
            && let Some(operation) = &mut item.post
            && idempotency::takes_key(&Method::POST, path)
        {
            idempotency::describe(operation);
        }
    }
    (schemas, paths, methods)
}

async fn enforce<A: Action>(request: Request, next: Next) -> Response {
    let Some(state) = request.extensions().get::<ApiState>().cloned() else {
        return Problem::from(Error::internal("the router has no state")).into_response();
    };
    let (mut parts, body) = request.into_parts();
    let signed_in = match SignedIn::identify(&mut parts, &state).await {
        Ok(signed_in) => signed_in,
        Err(refusal) => return refusal.noted(&state).into_response(),
    };
    // What is written when he is refused, here or by the command behind it.
    let asked = Asked::of(&mut parts, &state).await;
    let by = Known::from(&signed_in.caller);
    if let Err(error) = authorize::<A>(&signed_in.caller) {
        let problem = Problem::from(error);
        asked.note(&state, by, A::PERMISSION, problem.code());
        return problem.into_response();
    }
    let key = match idempotency::key_of(&parts.method, parts.uri.path(), &parts.headers) {
        Ok(key) => key,
        Err(problem) => return problem.into_response(),
    };
    let caller = signed_in.caller.clone();
    parts.extensions.insert(signed_in);
    let request = Request::from_parts(parts, body);
    let response = match key {
        Some(key) => idempotency::once(&state, &caller, key, request, next).await,
        None => next.run(request).await,
    };
    // What the command behind it refused, for the same log.
    if response.status() == StatusCode::FORBIDDEN {
        let reason = response.extensions().get().map_or("forbidden", Problem::code);
        asked.note(&state, by, A::PERMISSION, reason);
    }
    response
}

/// What a route asks, by the document.
#[must_use]
pub fn permission_of(operation: &Operation) -> Option<&str> {
    operation.extensions.as_ref()?.get(KEY)?.as_str()
}

/// The operations of a document: method, path, operation.
pub fn operations(document: &OpenApi) -> impl Iterator<Item = (&'static str, &str, &Operation)> {
    document.paths.paths.iter().flat_map(|(path, item)| {
        let methods = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        methods.into_iter().filter_map(move |(method, operation)| {
            operation.as_ref().map(|operation| (method, path.as_str(), operation))
        })
    })
}

/// The text of `docs/policy.md`.
#[must_use]
pub fn policy_table(document: &OpenApi) -> String {
    let mut text = String::from(
        "# Policy\n\nMade from the routes and from `bifrost_domain::policy`: \
         `UPDATE_POLICY=1 cargo test -p bifrost-api --test api policy` writes it again.\n\n\
         ## Who has a permission\n\n\
         | permission | who |\n|---|---|\n",
    );
    for (_, permission, rule) in actions::ALL {
        let who = match rule {
            Rule::PlatformAdmin => "platform admins alone; no role can carry it",
            Rule::Permission => {
                "platform admins; owners and admins of the organization; who has a role with it, there"
            }
            Rule::Member => {
                "platform admins; owners, admins and members of the organization; who has a role with it, there; people of the provider in GLOBAL"
            }
            Rule::SignedIn => "everybody signed in, also with an SDK key; no application",
            Rule::Person => "everybody signed in, with no key",
            Rule::Waiting => "everybody signed in, with no key, also while a second factor is owed",
        };
        let _ = writeln!(text, "| `{permission}` | {who} |");
    }
    text.push_str(
        "\nWho owes a second factor that is required has `account.factor` and nothing else, until it is shown (403 `mfa_required`).\n\n\
         A permission holds in the organization that the call acts in (`X-Organization-Id`, else the one the session was switched \
         to, else home), and reaches nothing of another one: what belongs to another organization answers 404, as what does not exist.\n\n\
         ## Routes\n\n\
         Some routes ask more once it is known what they are asked for: an execution of somebody else needs `executions.read_all` (to cancel it \
         `executions.cancel_all`), its variables are for platform admins, posted code needs `executions.run_code`, \
         a form needs its role.\n\n| route | permission |\n|---|---|\n",
    );
    for (method, path, operation) in operations(document) {
        let _ = writeln!(text, "| `{method} {path}` | {} |", permission_of(operation).unwrap_or("MISSING"));
    }
    text
}
