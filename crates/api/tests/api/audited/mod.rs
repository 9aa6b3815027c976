//! Every mutating operation of the document, asked as one who may: exactly the lines of the audit log that it has to leave, with who, what,
//! to what, from where, and no secret. An operation that is not here fails the test.

mod account;
mod directory;
mod expected;
mod export;
mod identities;
mod machines;
mod platform;
mod refusals;
mod walk;

use bifrost_test_support::{TestDatabase, on_both_databases};
use expected::line;
use walk::{ADMIN, ADMIN_PASSWORD, Walk};

on_both_databases![every_change_leaves_its_lines_and_no_secret,];

/// Somebody who is signed in.
#[derive(Clone)]
struct Someone {
    id: String,
    /// `Bearer …`
    bearer: String,
}

/// What stands when the organizations and people are made.
struct Scene {
    admin: Someone,
    acme: String,
    ann: Someone,
}

async fn every_change_leaves_its_lines_and_no_secret(db: TestDatabase) {
    let mut walk = Walk::start_on(db).await;
    let (bearer, _) = walk.sign_in(ADMIN, ADMIN_PASSWORD).await;
    let id = walk.me(&bearer).await;
    walk.left([line("session.begin", ADMIN, &id)]).await;
    let admin = Someone { id, bearer };
    let scene = Box::pin(directory::organizations_and_people(&mut walk, admin)).await;
    Box::pin(directory::members(&mut walk, &scene)).await;
    Box::pin(directory::roles(&mut walk, &scene)).await;
    Box::pin(machines::applications(&mut walk, &scene)).await;
    Box::pin(machines::other_keys(&mut walk, &scene)).await;
    Box::pin(machines::device(&mut walk, &scene)).await;
    Box::pin(platform::branding(&mut walk, &scene)).await;
    Box::pin(platform::executions(&mut walk, &scene)).await;
    Box::pin(identities::providers(&mut walk, &scene)).await;
    Box::pin(account::sign_ins(&mut walk, &scene)).await;
    let ann = Box::pin(account::profile(&mut walk, scene)).await;
    Box::pin(account::second_factor(&mut walk, &ann)).await;
    Box::pin(account::sessions(&mut walk)).await;
    let (server, lines) = walk.end().await;
    export::shows_the_same(&server, &lines).await;
}
