//! Whose account it is, who gets one, and what groups give.

use super::{
    Begun,
    stand_in::{Pair, StandIn},
};
use crate::support::{Reply, Server, tokens};
use axum::http::{Method, StatusCode};
use bifrost_domain::clock::Clock;
use bifrost_test_support::{TestDatabase, on_both_databases, one_time_code};
use chrono::Duration;
use serde_json::{Value, json};

on_both_databases![
    somebody_new_gets_an_account_in_the_organization_of_his_domain,
    a_stub_is_claimed_where_its_address_belongs,
    a_required_second_factor_is_shown_to_the_provider_or_to_us,
    who_gets_no_account,
    google_vouches_for_its_organizations_alone,
    a_tenant_vouches_for_its_own_domains_alone,
    accounts_are_linked_from_a_session_and_unlinked,
    the_only_way_in_is_not_thrown_away,
    a_suspended_account_and_a_deleted_provider_sign_nobody_in,
    the_system_user_has_no_session,
    groups_give_and_take_at_each_sign_in,
];

pub(super) struct Scene {
    pub(super) server: Server,
    pub(super) admin: String,
    pub(super) acme: String,
    key: Pair,
    pub(super) stand_in: StandIn,
    provider: String,
}

pub(super) async fn scene(rules: Value) -> Scene {
    scene_on(Server::start().await, rules).await
}

pub(super) async fn scene_on(server: Server, rules: Value) -> Scene {
    scene_of(server, json!({"rules": rules}), false).await
}

async fn scene_of(server: Server, change: Value, many: bool) -> Scene {
    let (admin, _) = server.admin().await;
    let body = json!({"name": "Acme", "domain": "acme.example"});
    let made = server.post("/api/organizations", &admin, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let acme = made.json()["id"].as_str().expect("an id").to_owned();
    let key = Pair::ed("ed");
    let stand_in = StandIn::start(&[&key]).await;
    let issuer = if many { stand_in.template() } else { stand_in.issuer() };
    let provider = server.provider(&admin, &issuer, change).await;
    let provider = provider["id"].as_str().expect("an id").to_owned();
    Scene { server, admin, acme, key, stand_in, provider }
}

impl Scene {
    /// Prepares the answer to a sign-in that was begun.
    pub(super) fn answer(&self, begun: &Begun, claims: &Value, userinfo: Value) {
        let now = self.server.clock.now().timestamp();
        let mut all = json!({
            "iss": self.stand_in.issuer(), "aud": "client", "nonce": begun.nonce, "iat": now, "exp": now + 300
        });
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        self.stand_in.answer_with(self.key.sign("JWT", &all), userinfo);
    }

    pub(super) async fn sign_in(&self, claims: Value) -> Reply {
        self.sign_in_with(claims, Value::Null).await
    }

    async fn sign_in_with(&self, claims: Value, userinfo: Value) -> Reply {
        let begun = self.server.begin("stand-in").await;
        self.answer(&begun, &claims, userinfo);
        self.server.finish(&begun.cookie, "code", &begun.state).await
    }

    /// Links somebody of the provider to the owner of an access token.
    async fn link(&self, access: &str, claims: Value) -> Reply {
        let bearer = format!("Bearer {access}");
        let headers = [("authorization", bearer.as_str())];
        let proof = Some(json!({"password": "a long password"}));
        let begun =
            Begun::of(&self.server.ask(Method::POST, "/auth/oauth/link/stand-in", &headers, proof).await);
        self.answer(&begun, &claims, Value::Null);
        self.server.finish(&begun.cookie, "code", &begun.state).await
    }

    pub(super) async fn change(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.as_(&self.admin, method, path, body).await
    }

    pub(super) async fn as_(&self, access: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
        let bearer = format!("Bearer {access}");
        self.server.ask(method, path, &[("authorization", &bearer)], body).await
    }
}

pub(super) fn ann() -> Value {
    json!({"sub": "ann", "email": "Ann@ACME.example", "email_verified": true, "name": "Ann"})
}

pub(super) fn jit() -> Value {
    json!({"jit_enabled": true, "allowed_domains": ["acme.example"]})
}

async fn somebody_new_gets_an_account_in_the_organization_of_his_domain(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, jit()).await;
    let first = scene.sign_in(ann()).await;
    let (access, refresh) = tokens(&first);
    let me = scene.server.get("/auth/me", &access).await.json();
    assert_eq!(
        (&me["email"], &me["name"], &me["organization_id"], &me["is_superuser"], &me["is_verified"]),
        (&json!("ann@acme.example"), &json!("Ann"), &json!(scene.acme), &json!(false), &json!(true))
    );
    assert_eq!(
        me["memberships"],
        json!([{"organization_id": scene.acme, "role": "member", "is_active": true}])
    );
    let lines = scene.server.audit(3).await;
    let lines: Vec<_> =
        lines.iter().map(|(action, _, detail)| (action.as_str(), &detail["provider"])).collect();
    let by = json!("stand-in");
    assert_eq!(lines, [("session.begin", &by), ("identity.link", &by), ("user.register", &by)]);

    // The session is one like any other.
    let body = json!({"refresh_token": refresh});
    let renewed = scene.server.ask(Method::POST, "/auth/refresh", &[], Some(body)).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.text);

    // The same person again, under another address: the same account.
    let again = scene.sign_in(json!({"sub": "ann", "email": "ann.b@other.example"})).await;
    let again = scene.server.get("/auth/me", &tokens(&again).0).await.json();
    assert_eq!((&again["id"], &again["email"]), (&me["id"], &json!("ann@acme.example")));
    // Another person with that address: not hers.
    let thief =
        scene.sign_in(json!({"sub": "eve", "email": "ann@acme.example", "email_verified": true})).await;
    assert_eq!(thief.problem(), (409, "account_exists".to_owned()));

    // The address may stand at the userinfo endpoint alone, where it counts for the same person only.
    let said = |sub: &str| json!({"sub": sub, "email": "bob@acme.example", "email_verified": true});
    assert_eq!(scene.sign_in_with(json!({"sub": "bob"}), said("eve")).await.problem().0, 403);
    let bob = scene.sign_in_with(json!({"sub": "bob"}), said("bob")).await;
    let bob = scene.server.get("/auth/me", &tokens(&bob).0).await;
    assert_eq!(bob.json()["email"], "bob@acme.example");
}

/// A stub in an organization.
async fn stub(scene: &Scene, email: &str, home: &str) -> Reply {
    scene.change(Method::POST, "/api/users", Some(json!({"email": email, "organization_id": home}))).await
}

async fn a_stub_is_claimed_where_its_address_belongs(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, jit()).await;
    let body = json!({"name": "Acme South", "parent_id": scene.acme, "kind": "company"});
    let group = json!({"kind": "group"});
    let path = format!("/api/organizations/{}", scene.acme);
    scene.change(Method::PATCH, &path, Some(group)).await;
    let below = scene.server.post("/api/organizations", &scene.admin, body).await;
    assert_eq!(below.status, StatusCode::CREATED, "{}", below.text);
    let below = below.json()["id"].as_str().expect("an id").to_owned();
    let other = scene.server.organization(&scene.admin, "Other").await;
    for (name, home, answer) in [("ann", &scene.acme, 200), ("bob", &below, 200), ("eve", &other, 409)] {
        let email = format!("{name}@acme.example");
        assert_eq!(stub(&scene, &email, home).await.status, StatusCode::CREATED);
        let reply = scene.sign_in(json!({"sub": name, "email": email, "email_verified": true})).await;
        assert_eq!(reply.status.as_u16(), answer, "{email}: {}", reply.text);
        if answer == 200 {
            let me = scene.server.get("/auth/me", &tokens(&reply).0).await.json();
            assert_eq!((&me["organization_id"], &me["is_verified"]), (&json!(home), &json!(true)), "{email}");
        } else {
            assert_eq!(reply.problem().1, "stub_elsewhere");
        }
    }
}

async fn a_required_second_factor_is_shown_to_the_provider_or_to_us(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, jit()).await;
    let path = format!("/api/organizations/{}", scene.acme);
    let body = json!({"settings": {"security": {"mfa_required": true}}});
    assert_eq!(scene.change(Method::PATCH, &path, Some(body)).await.status, StatusCode::OK);
    let with = |amr: Value| {
        let mut claims = ann();
        claims["amr"] = amr;
        claims
    };
    let me = async |token: &str| scene.server.get("/auth/me", token).await;
    for amr in
        [json!(null), json!(["pwd"]), json!(["otp"]), json!(["MFA"]), json!({"mfa": true}), json!(true)]
    {
        let (access, _) = tokens(&scene.sign_in(with(amr.clone())).await);
        assert_eq!(me(&access).await.problem(), (403, "mfa_required".to_owned()), "{amr}");
    }
    for amr in [json!(["pwd", "mfa"]), json!(["mfa"])] {
        let (access, _) = tokens(&scene.sign_in(with(amr.clone())).await);
        assert_eq!(me(&access).await.status, StatusCode::OK, "{amr}");
    }

    // The provider's own tokens, as they are and exchanged.
    let now = scene.server.clock.now().timestamp();
    let token = |amr: Value| {
        let claims = json!({
            "iss": scene.stand_in.issuer(), "aud": "api://bifrost", "sub": "ann", "iat": now, "exp": now + 300,
            "scope": "run", "amr": amr
        });
        scene.key.sign("at+jwt", &claims)
    };
    for (amr, is_shown) in [(json!(["pwd"]), false), (json!(["pwd", "mfa"]), true)] {
        let token = token(amr.clone());
        let exchanged = tokens(&scene.server.exchange(&token).await).0;
        for access in [token, exchanged] {
            let reply = me(&access).await;
            let expected = if is_shown { 200 } else { 403 };
            assert_eq!(reply.status.as_u16(), expected, "{amr}: {}", reply.text);
        }
    }

    // Who has shown the provider nothing sets a factor up here, or shows a code.
    let (access, _) = tokens(&scene.sign_in(ann()).await);
    let setup = scene.as_(&access, Method::POST, "/auth/mfa/setup", None).await.json();
    let secret = setup["secret"].as_str().expect("a secret");
    let code = || json!({"code": one_time_code(secret, scene.server.clock.now())});
    let verified = scene.as_(&access, Method::POST, "/auth/mfa/verify", Some(code())).await;
    assert_eq!(me(&tokens(&verified).0).await.status, StatusCode::OK);
    let (access, _) = tokens(&scene.sign_in(ann()).await);
    assert_eq!(me(&access).await.problem(), (403, "mfa_required".to_owned()));
    scene.server.clock.advance(Duration::seconds(30));
    let shown = scene.as_(&access, Method::POST, "/auth/mfa/prove", Some(code())).await;
    assert_eq!(shown.status, StatusCode::NO_CONTENT, "{}", shown.text);
    assert_eq!(me(&access).await.status, StatusCode::OK);
}

async fn who_gets_no_account(db: TestDatabase) {
    let scene = scene_on(
        Server::on(db).await,
        json!({"jit_enabled": true, "allowed_domains": ["acme.example", "nobody.example"]}),
    )
    .await;
    for (claims, status, code) in [
        (json!({"sub": "x"}), 403, "identity_unknown"),
        (json!({"sub": "x", "email": "x@acme.example"}), 403, "identity_unknown"),
        (json!({"sub": "x", "email": "x@acme.example", "email_verified": false}), 403, "identity_unknown"),
        (json!({"sub": "x", "email": "x@other.example", "email_verified": true}), 403, "identity_unknown"),
        (json!({"sub": "x", "email": "x@sub.acme.example", "email_verified": true}), 403, "identity_unknown"),
        (json!({"sub": "x", "email": "acme.example", "email_verified": true}), 403, "identity_unknown"),
        (json!({"sub": "x", "email": "x@nobody.example", "email_verified": true}), 403, "no_organization"),
    ] {
        assert_eq!(scene.sign_in(claims.clone()).await.problem(), (status, code.to_owned()), "{claims}");
    }
    let path = format!("/api/identity-providers/{}", scene.provider);
    let off = json!({"rules": {"jit_enabled": false}});
    assert_eq!(scene.change(Method::PATCH, &path, Some(off)).await.status, StatusCode::OK);
    assert_eq!(scene.sign_in(ann()).await.problem(), (403, "identity_unknown".to_owned()));
}

async fn google_vouches_for_its_organizations_alone(db: TestDatabase) {
    let rules = json!({"jit_enabled": true, "allowed_domains": ["acme.example"], "accept_bearer": false, "bearer_audience": null});
    let scene = scene_of(Server::on(db).await, json!({"kind": "google", "rules": rules}), false).await;
    assert_eq!(scene.sign_in(ann()).await.problem().0, 403, "an account that Acme does not run");
    let mut hosted = ann();
    hosted["hd"] = "other.example".into();
    assert_eq!(scene.sign_in(hosted.clone()).await.problem().0, 403);
    hosted["hd"] = "acme.example".into();
    assert_eq!(scene.sign_in(hosted).await.status, StatusCode::OK);
}

async fn a_tenant_vouches_for_its_own_domains_alone(db: TestDatabase) {
    let (a, b) = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222");
    let tenants =
        json!([{"tenant_id": a, "domains": ["acme.example"]}, {"tenant_id": b, "domains": ["b.example"]}]);
    let rules = json!({"jit_enabled": true, "allowed_tenants": tenants});
    let scene = scene_of(Server::on(db).await, json!({"kind": "entra", "rules": rules}), true).await;
    let of = |tenant: &str, email: &str| {
        json!({
            "iss": scene.stand_in.template().replace("{tenantid}", tenant), "tid": tenant, "sub": "x",
            "oid": "33333333-3333-3333-3333-333333333333", "email": email
        })
    };
    let liar = scene.sign_in(of(b, "ann@acme.example")).await;
    assert_eq!(liar.problem(), (403, "identity_unknown".to_owned()), "an address of another tenant's domain");
    assert_eq!(scene.sign_in(of(a, "ann@acme.example")).await.status, StatusCode::OK);
    // The same object id in another tenant is another person.
    assert_eq!(scene.sign_in(of(b, "ann@b.example")).await.problem(), (403, "no_organization".to_owned()));
}

async fn accounts_are_linked_from_a_session_and_unlinked(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, json!({})).await;
    let server = &scene.server;
    let ben = server.person("ben@acme.example", &scene.acme).await;
    let claims = json!({"sub": "ben", "email": "ben@private.example"});
    assert_eq!(scene.sign_in(claims.clone()).await.problem().0, 403, "not known yet");
    let linked = scene.link(&ben, claims.clone()).await;
    assert_eq!((linked.status, linked.json()), (StatusCode::OK, json!({"linked": "stand-in"})));
    assert_eq!(server.audit(1).await[0].0, "identity.link");
    let signed_in = scene.sign_in(claims.clone()).await;
    let me = server.get("/auth/me", &tokens(&signed_in).0).await.json();
    assert_eq!(me["email"], "ben@acme.example");
    let accounts = server.get("/auth/oauth/accounts", &ben).await.json();
    assert_eq!(
        (&accounts["accounts"][0]["provider"], &accounts["accounts"][0]["email"]),
        (&json!("stand-in"), &json!("ben@private.example"))
    );
    // Again: nothing happens. Another account of the same provider, or another user's: refused.
    assert_eq!(scene.link(&ben, claims.clone()).await.status, StatusCode::OK);
    let second = scene.link(&ben, json!({"sub": "ben2"})).await;
    assert_eq!(second.problem(), (409, "identity_exists".to_owned()));
    let cid = server.person("cid@acme.example", &scene.acme).await;
    assert_eq!(scene.link(&cid, claims.clone()).await.problem(), (409, "identity_taken".to_owned()));

    // A session that ended meanwhile links nothing; without one nothing is begun.
    let bearer = format!("Bearer {cid}");
    let headers = [("authorization", bearer.as_str())];
    let proof = Some(json!({"password": "a long password"}));
    let begun = Begun::of(&server.ask(Method::POST, "/auth/oauth/link/stand-in", &headers, proof).await);
    scene.answer(&begun, &json!({"sub": "cid"}), Value::Null);
    assert_eq!(server.ask(Method::POST, "/auth/logout", &headers, None).await.status, StatusCode::OK);
    assert_eq!(server.finish(&begun.cookie, "code", &begun.state).await.problem().0, 401);
    assert_eq!(server.ask(Method::POST, "/auth/oauth/link/stand-in", &[], None).await.problem().0, 401);
    let now = server.clock.now().timestamp();
    let token = scene.key.sign(
        "at+jwt",
        &json!({"iss": scene.stand_in.issuer(), "aud": "api://bifrost", "sub": "ben", "exp": now + 300}),
    );
    let by_provider = scene.as_(&token, Method::POST, "/auth/oauth/link/stand-in", None).await;
    assert_eq!(by_provider.problem(), (403, "session_required".to_owned()));

    // Ben has a password, so he may unlink.
    let path = "/auth/oauth/accounts/stand-in";
    assert_eq!(scene.as_(&ben, Method::DELETE, path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.audit(1).await[0].0, "identity.unlink");
    assert_eq!(scene.as_(&ben, Method::DELETE, path, None).await.problem().0, 404);
    assert_eq!(scene.as_(&ben, Method::DELETE, "/auth/oauth/accounts/other", None).await.problem().0, 404);
    assert_eq!(scene.sign_in(claims).await.problem().0, 403);
    server.clock.advance(Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &token).await.problem(), (401, "identity_unknown".to_owned()));
}

async fn the_only_way_in_is_not_thrown_away(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, jit()).await;
    let (access, _) = tokens(&scene.sign_in(ann()).await);
    let gone = scene.as_(&access, Method::DELETE, "/auth/oauth/accounts/stand-in", None).await;
    assert_eq!(gone.problem(), (409, "last_sign_in".to_owned()));
}

async fn a_suspended_account_and_a_deleted_provider_sign_nobody_in(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, jit()).await;
    let server = &scene.server;
    let (access, _) = tokens(&scene.sign_in(ann()).await);
    let now = server.clock.now().timestamp();
    let token = scene.key.sign(
        "at+jwt",
        &json!({"iss": scene.stand_in.issuer(), "aud": "api://bifrost", "sub": "ann", "exp": now + 300}),
    );
    assert_eq!(server.get("/auth/me", &token).await.json()["email"], "ann@acme.example");
    let exchanged = server.exchange(&token).await;
    assert_eq!(exchanged.json()["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(exchanged.header("cache-control"), "no-store");
    let ours = exchanged.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(server.get("/auth/me", &ours).await.json()["email"], "ann@acme.example");

    let organization = format!("/api/organizations/{}", scene.acme);
    let off = scene.change(Method::PATCH, &organization, Some(json!({"is_active": false}))).await;
    assert_eq!(off.status, StatusCode::OK, "{}", off.text);
    server.clock.advance(Duration::seconds(1));
    for known in [&access, &token, &ours] {
        assert_eq!(server.get("/auth/me", known).await.problem().0, 401);
    }
    assert_eq!(scene.sign_in(ann()).await.problem(), (401, "account_inactive".to_owned()));
    assert_eq!(server.exchange(&token).await.problem(), (401, "account_inactive".to_owned()));
    let on = scene.change(Method::PATCH, &organization, Some(json!({"is_active": true}))).await;
    assert_eq!(on.status, StatusCode::OK, "{}", on.text);
    server.clock.advance(Duration::seconds(1));
    assert_eq!(server.get("/auth/me", &token).await.status, StatusCode::OK);

    let provider = format!("/api/identity-providers/{}", scene.provider);
    assert_eq!(scene.change(Method::DELETE, &provider, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/auth/me", &token).await.problem().0, 401);
    assert_eq!(server.exchange(&token).await.problem().0, 401);
    assert_eq!(server.get("/auth/me", &access).await.status, StatusCode::OK, "our own sessions go on");
}

/// Not even when somebody managed to link it.
async fn the_system_user_has_no_session(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, json!({})).await;
    let server = &scene.server;
    let system = server.auth.ensure_system_user().await.expect("the system user");
    server.link(&json!({"id": scene.provider}), "system", &system.email).await;
    let now = server.clock.now().timestamp();
    let claims =
        json!({"iss": scene.stand_in.issuer(), "aud": "api://bifrost", "sub": "system", "exp": now + 300});
    let token = scene.key.sign("at+jwt", &claims);
    assert_eq!(server.get("/auth/me", &token).await.problem().0, 401);
    assert_eq!(server.exchange(&token).await.problem().0, 401);
    assert_eq!(scene.sign_in(json!({"sub": "system"})).await.problem().0, 401);
    let of_system = format!(
        "SELECT 'one' AS line FROM sessions JOIN users ON users.id = sessions.user_id WHERE users.email = '{}'",
        system.email
    );
    assert!(bifrost_test_support::lines(server.store.db(), &of_system).await.is_empty());
}

async fn groups_give_and_take_at_each_sign_in(db: TestDatabase) {
    let scene = scene_on(Server::on(db).await, jit()).await;
    let server = &scene.server;
    let (other, third) =
        (server.organization(&scene.admin, "Other").await, server.organization(&scene.admin, "Third").await);
    let path = format!("/api/identity-providers/{}", scene.provider);
    let rules = json!({"rules": {"group_rules": [
        {"group": "bosses", "organization_id": scene.acme, "role": "admin"},
        {"group": "staff", "organization_id": other, "role": "limited"},
        {"group": "bosses", "organization_id": other, "role": "member"},
        {"group": "staff", "organization_id": third, "role": "owner"}
    ]}});
    let changed = scene.change(Method::PATCH, &path, Some(rules)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let ranks = async |groups: Value| {
        let mut claims = ann();
        claims["groups"] = groups;
        let (access, _) = tokens(&scene.sign_in(claims).await);
        let me = server.get("/auth/me", &access).await.json();
        let of = |id: &str| {
            let all = me["memberships"].as_array().expect("a list");
            let one = all.iter().find(|one| one["organization_id"] == id)?;
            Some(one["role"].as_str().expect("a rank").to_owned())
        };
        [&scene.acme, &other, &third].map(|id| of(id).unwrap_or_default())
    };
    assert_eq!(ranks(json!(["staff", "unknown"])).await, ["member", "limited", "owner"]);
    let lines = server.audit(2).await;
    assert_eq!((lines[1].0.as_str(), &lines[1].2["provider"]), ("membership.sync", &json!("stand-in")));
    assert_eq!(ranks(json!(["staff", "bosses"])).await, ["admin", "member", "owner"]);
    assert_eq!(ranks(json!(["bosses"])).await, ["admin", "member", ""]);
    assert_eq!(ranks(json!([])).await, ["member", "", ""], "the one that came with the account stays");
    assert_eq!(server.audit(2).await[1].0, "membership.sync");
    assert_eq!(ranks(json!(null)).await, ["member", "", ""]);
    assert_ne!(server.audit(2).await[1].0, "membership.sync", "nothing changed");
    // More groups than fit into a token: nothing is known, so nothing is taken.
    assert_eq!(ranks(json!(["staff"])).await, ["member", "limited", "owner"]);
    let mut claims = ann();
    claims["_claim_names"] = json!({"groups": "src1"});
    let (access, _) = tokens(&scene.sign_in(claims).await);
    let me = server.get("/auth/me", &access).await.json();
    assert_eq!(me["memberships"].as_array().map(Vec::len), Some(3));
    // An organization that is gone is no reason to refuse anybody.
    let unknown = json!({"rules": {"group_rules": [
        {"group": "staff", "organization_id": "01890a5d-ac96-774b-bcce-b302099a8057", "role": "member"}
    ]}});
    let refused = scene.change(Method::PATCH, &path, Some(unknown)).await;
    assert_eq!(refused.fields(), [("rules.group_rules[0].organization_id".to_owned(), "value".to_owned())]);
}
