//! Whether a form is there, for whom.

use crate::support::{Bed, everything, organization, rights_in, user, user_id};
use bifrost_domain::{
    ids::FormId,
    policy::{self, Caller, Visibility},
    scope::Scope,
};
use bifrost_test_support::{TestDatabase, on_both_databases};

on_both_databases![a_form_is_there_for_its_organization];

/// Makes a form.
pub(crate) async fn form(bed: &Bed, scope: Scope, is_active: bool) -> FormId {
    let id = bed.uuid();
    let literal = |id: uuid::Uuid| {
        if bed.db.db().is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.simple()) }
    };
    let home = match scope {
        Scope::Global => "NULL".to_owned(),
        Scope::Organization(home) => {
            let (home, now) = (literal(home.as_uuid()), bed.now().to_rfc3339());
            bed.query(&format!(
                "INSERT INTO organizations (id, name, is_active, settings, created_at, updated_at) \
                 VALUES ({home}, 'o', true, '{{}}', '{now}', '{now}') ON CONFLICT DO NOTHING"
            ))
            .await;
            home
        }
    };
    let (literal, now) = (literal(id), bed.now().to_rfc3339());
    bed.query(&format!(
        "INSERT INTO forms (id, organization_id, name, form_schema, access_level, is_active, created_at, updated_at) \
         VALUES ({literal}, {home}, 'f', '{{}}', 'role_based', {is_active}, '{now}', '{now}')"
    ))
    .await;
    FormId::from_uuid(id)
}

fn member(bed: &Bed, scope: Scope) -> Visibility {
    let member = user(user_id(1), scope, false, bed.now());
    let rights = rights_in(scope, &[]);
    policy::visible_forms(&Caller::of_user(&member, &rights, None, None).expect("a caller"))
}

async fn a_form_is_there_for_its_organization(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let global = form(&bed, Scope::Global, true).await;
    let own = form(&bed, organization(1), true).await;
    let other = form(&bed, organization(2), true).await;
    let deleted = form(&bed, organization(1), false).await;
    let absent = FormId::from_uuid(bed.uuid());
    let all = [global, own, other, deleted, absent];
    for (visibility, expected) in [
        (member(&bed, organization(1)), [true, true, false, false, false]),
        (member(&bed, organization(2)), [true, false, true, false, false]),
        (everything(bed.now()), [true, true, true, false, false]),
    ] {
        for (id, expected) in all.into_iter().zip(expected) {
            assert_eq!(bed.reader.has_form(id, &visibility).await.expect("read"), expected);
        }
    }
}
