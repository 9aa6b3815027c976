//! Configuration values: the organization's before the global one.

use crate::support::{Bed, organization, user_id};
use bifrost_domain::{ids::ConfigId, scope::Scope};
use bifrost_storage::settings::{Config, ConfigValue};
use bifrost_test_support::{TestDatabase, on_both_databases};
use serde_json::{Value, json};

on_both_databases![the_nearest_value_wins, a_secret_comes_back_as_it_was];

fn plain(scope: Scope, key: &str, value: Value) -> Config {
    Config { key: key.to_owned(), scope, value: ConfigValue::Plain { kind: "json".to_owned(), value } }
}

async fn put(bed: &Bed, config: &Config) {
    let id = ConfigId::from_uuid(bed.uuid());
    bed.store.put_config(id, config, user_id(1), bed.now()).await.expect("stored");
}

async fn the_nearest_value_wins(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let (ours, theirs) = (bed.add_organization(1).await, bed.add_organization(2).await);
    let (global, own) = (plain(Scope::Global, "url", json!("g")), plain(ours, "url", json!({"o": [1, "ü"]})));
    let only_global = plain(Scope::Global, "a", json!(7));
    for config in [&global, &own, &only_global] {
        put(&bed, config).await;
    }
    let find = async |scope, key| bed.reader.find_config(scope, key).await.expect("read");
    assert_eq!(find(ours, "url").await.as_ref(), Some(&own));
    assert_eq!(find(theirs, "url").await.as_ref(), Some(&global));
    assert_eq!(find(Scope::Global, "url").await.as_ref(), Some(&global));
    assert_eq!(find(ours, "none").await, None);
    assert_eq!(bed.reader.list_configs(ours).await.expect("read"), [only_global.clone(), own.clone()]);
    assert_eq!(bed.reader.list_configs(theirs).await.expect("read"), [only_global, global.clone()]);
    let newer = plain(ours, "url", Value::Null);
    put(&bed, &newer).await;
    assert_eq!(find(ours, "url").await, Some(newer), "set again is replaced");
    assert!(bed.store.delete_config(ours, "url").await.expect("asked"));
    assert!(!bed.store.delete_config(ours, "url").await.expect("asked"));
    assert!(!bed.store.delete_config(theirs, "url").await.expect("asked"), "the global one is not theirs");
    assert_eq!(find(ours, "url").await, Some(global));
}

async fn a_secret_comes_back_as_it_was(db: TestDatabase) {
    let bed = Bed::new(db).await;
    let value = ConfigValue::Secret { ciphertext: (0..=255).collect(), key_id: "k1".to_owned() };
    let secret = Config { key: "token".to_owned(), scope: Scope::Global, value };
    put(&bed, &secret).await;
    assert_eq!(bed.reader.find_config(Scope::Global, "token").await.expect("read"), Some(secret.clone()));
    // A plain value in its place leaves no ciphertext behind, and back.
    put(&bed, &plain(Scope::Global, "token", json!(false))).await;
    let rows = bed
        .query("SELECT count(*) AS n FROM configs WHERE ciphertext IS NOT NULL OR key_id IS NOT NULL")
        .await;
    assert_eq!(rows[0].try_get::<i64>("", "n").expect("a number"), 0);
    put(&bed, &secret).await;
    assert_eq!(bed.reader.list_configs(organization(1)).await.expect("read"), [secret]);
}
