//! Examples that answer with their result.

use super::{code, in_an_organization, path, ran, read, rows, set, wrong};
use crate::support::Client;
use serde_json::{Value, json};

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

pub(super) async fn licences(admin: &Client) {
    // The report adds up what the file says.
    let table = rows("licences/licences.csv");
    let unused: Vec<_> = table.iter().filter(|row| number(&row[4]) >= 60.0).collect();
    let costs: f64 = unused.iter().map(|row| number(&row[3])).sum();
    let done = admin.run("licence_report", json!({"inactive_days": "60"})).await;
    let id = done["execution_id"].as_str().expect("an id");
    let run = super::ended(admin, id).await;
    let result = run.good();
    assert_eq!((&result["licences"], &result["unused"]), (&json!(table.len()), &json!(unused.len())));
    assert!((result["monthly_saving"].as_f64().expect("a number") - costs).abs() < 0.01, "{result}");
    let by_customer = result["by_customer"].as_object().expect("sums");
    let sum: f64 = by_customer.values().filter_map(Value::as_f64).sum();
    assert!((sum - costs).abs() < 0.01, "{result}");
    assert_eq!(run.execution["variables"]["totals"], result["by_customer"]);
    assert_eq!(run.said("INFO").len(), unused.len() + 1);
    assert_eq!(run.log[0]["metadata"]["licence"], json!(unused[0][2]));

    let page = ran(admin, "licence_report", json!({"customer": "CONTOSO", "as_html": true})).await;
    let html = page.good().as_str().expect("a text");
    assert_eq!(page.execution["result_type"], "html");
    let contoso = table.iter().filter(|row| row[0] == "Contoso" && number(&row[4]) >= 30.0).count();
    assert_eq!(html.matches("<tr>").count(), contoso + 1, "{html}");
    let unknown = ran(admin, "licence_report", json!({"customer": "Acme"})).await;
    assert_eq!(unknown.refusal(), "The export has no customer `Acme`.");
    assert_eq!(
        wrong(admin, "licence_report", json!({"inactive_days": 0, "as_html": "maybe"})).await,
        [
            path("inactive_days", "must be at least 1"),
            path("as_html", "must be true or false, got \"maybe\"")
        ]
    );
}

pub(super) async fn disks(admin: &Client) {
    let gib = |number: u64| number << 30;
    for (used, role, decision, priority) in [
        (700, "file", "nothing to do", Value::Null),
        (900, "file", "clean temporary files and old profiles", json!("normal")),
        (900, "database", "check log truncation and back-ups before anything is deleted", json!("high")),
        (990, "terminal", "extend the volume", json!("urgent")),
    ] {
        let input = json!({"host": "fs1", "used_bytes": gib(used), "total_bytes": gib(1000), "role": role});
        let done = admin.run("triage_disk_space", input).await;
        let result = &done["result"];
        assert_eq!(
            (&done["status"], &result["decision"], &result["priority"]),
            (&json!("Success"), &json!(decision), &priority),
            "{done}"
        );
    }
    // The failing branch: the text is for everybody.
    let senseless = json!({"host": "fs1", "used_bytes": 5, "total_bytes": 1});
    let done = admin.run("triage_disk_space", senseless).await;
    assert_eq!(
        (&done["status"], &done["error"], &done["error_type"]),
        (&json!("Failed"), &json!(SENSELESS), &json!("UserError"))
    );
    let input = json!({"host": "a b", "used_bytes": -1, "total_bytes": "much", "role": "mail"});
    assert_eq!(
        wrong(admin, "triage_disk_space", input).await,
        [
            path("host", "must be a host's name"),
            path("used_bytes", "must be at least 0"),
            path("total_bytes", "must be a whole number, got \"much\""),
            path("role", "must be one of \"file\", \"database\", \"terminal\""),
        ]
    );
}

const SENSELESS: &str = "The alert for fs1 makes no sense: 5 of 1 bytes are used.";

/// Somebody who is no administrator reads the text of a `UserError`, and of a wrong parameter that only the run can tell; of
/// anything else that it happened.
pub(super) async fn a_person_reads_why(person: &Client) {
    let senseless = json!({"host": "fs1", "used_bytes": 5, "total_bytes": 1});
    let done = person.run("triage_disk_space", senseless).await;
    assert_eq!(
        (&done["status"], &done["error"], &done["error_type"]),
        (&json!("Failed"), &json!(SENSELESS), &Value::Null)
    );
    let done = person.run("triage_tickets", json!({"tickets": [{"number": 1}]})).await;
    let error = done["error"].as_str().expect("an error");
    assert_eq!(error, "parameter `tickets[0]`: `subject` is missing");
    let run = ran(person, "sync_price_list", json!({"failing_attempts": 10})).await;
    assert_eq!(run.execution["error_message"], "An error occurred during execution");
    // Not in the whole line: the number may stand in its time.
    let mut told = run.log.iter().map(|line| format!("{} {}", line["message"], line["metadata"]));
    assert!(told.all(|text| !text.contains("503")), "{:?}", run.log);
    assert_eq!(run.said("WARNING").len(), 3, "that it was tried again is no secret");
    let done = person.run("about_this_run", json!({})).await;
    let result = &done["result"];
    assert_eq!(
        (&result["user"]["email"], &result["user"]["is_platform_admin"], &result["organization"]["name"]),
        (&json!("ann@acme.example"), &json!(false), &json!("Acme")),
        "{done}"
    );
}

pub(super) async fn patches(admin: &Client) {
    let table = rows("customers/devices.csv");
    for (input, at) in [
        (json!({"customer": "contoso"}), None),
        (json!({"customer": "contoso", "site": "Leeds"}), Some("Leeds")),
    ] {
        let devices: Vec<_> =
            table.iter().filter(|row| row[0] == "contoso" && at.is_none_or(|site| row[1] == site)).collect();
        let behind: Vec<_> = devices.iter().filter(|row| row[5] != "0").collect();
        let run = ran(admin, "patch_compliance", input).await;
        let result = run.good();
        assert_eq!(result["devices"], devices.len());
        assert_eq!(result["missing"].as_object().map(serde_json::Map::len), Some(behind.len()));
        for row in &behind {
            assert_eq!(result["missing"][&row[2]], json!(row[5].parse::<i64>().expect("a number")));
        }
        let critical = behind.iter().filter(|row| row[6] != "0").count();
        assert_eq!((run.said("ERROR").len(), run.said("WARNING").len()), (critical, behind.len() - critical));
    }
    let run = ran(admin, "patch_compliance", json!({"customer": "fabrikam", "device": "CGN-DC01"})).await;
    assert_eq!((&run.good()["percent"], &run.good()["on_target"]), (&json!(100.0), &json!(true)));
    let run = ran(admin, "patch_compliance", json!({"customer": "contoso", "site": "Köln"})).await;
    assert_eq!(run.refusal(), "There is no such device: customer contoso, site Köln, device any.");
    let wanted = [path("customer", "is required"), path("target_percent", "must be at most 100")];
    assert_eq!(wrong(admin, "patch_compliance", json!({"target_percent": 101})).await, wanted);
}

pub(super) async fn backups(admin: &Client) {
    let run = ran(admin, "check_backups", json!({"reference": "2026-03-02T08:00:00Z"})).await;
    assert_eq!(run.status(), "CompletedWithErrors", "{}", run.execution);
    assert_eq!(run.execution["error_message"], "2 of 6 backups need attention");
    let attention = json!({"fabrikam-fileserver": "is 3 days old", "fabrikam-erp": "failed"});
    assert_eq!((&run.result()["attention"], &run.result()["good"]), (&attention, &json!(4)));
    assert_eq!((run.said("ERROR").len(), run.said("WARNING").len()), (2, 1));
    // With an offset, as text, and of one job alone.
    let input = json!({"reference": "2026-03-02T09:00:00+01:00", "jobs": "[\"contoso-sql\"]"});
    let run = ran(admin, "check_backups", input).await;
    assert_eq!(run.good(), &json!({"success": true, "checked": 1, "good": 1, "attention": {}}));
    let run = ran(admin, "check_backups", json!({"jobs": ["nowhere"]})).await;
    assert_eq!(run.refusal(), "There is no backup job nowhere.");
    let input = json!({"max_age_hours": 0, "jobs": ["contoso-sql", {}], "reference": "yesterday"});
    let wrong = wrong(admin, "check_backups", input).await;
    let paths: Vec<_> = wrong.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["input_data.max_age_hours", "input_data.jobs[1]", "input_data.reference"]);
}

pub(super) async fn certificates(admin: &Client) {
    let run = ran(admin, "certificate_expiry", json!({"reference_date": "2026-03-02"})).await;
    let result = run.good();
    let days = |group: &str| -> Vec<(String, i64)> {
        let found = result[group].as_array().expect("a list").iter();
        found
            .map(|one| {
                (one["host"].as_str().expect("a host").to_owned(), one["days_left"].as_i64().expect("days"))
            })
            .collect()
    };
    let of = |found: &[(&str, i64)]| -> Vec<(String, i64)> {
        found.iter().map(|(host, days)| ((*host).to_owned(), *days)).collect()
    };
    assert_eq!(days("expired"), of(&[("shop.fabrikam.example:443", -16)]));
    assert_eq!(
        days("ending"),
        of(&[
            ("vpn.contoso.example:8443", 7),
            ("www.contoso.example:443", 18),
            ("rds.northwind.example:3389", 30),
        ])
    );
    assert_eq!(days("good").len() + 4, rows("security/certificates.csv").len());
    assert_eq!((run.said("ERROR").len(), run.said("WARNING").len()), (1, 3));
    let input =
        json!({"hosts": ["erp.fabrikam.example"], "warn_days": "365", "reference_date": "2030-12-31"});
    let run = ran(admin, "certificate_expiry", input).await;
    assert_eq!(run.good()["ending"][0]["days_left"], 1);
    let run = ran(admin, "certificate_expiry", json!({"hosts": ["a.example", "b.example"]})).await;
    assert_eq!(run.refusal(), "Not in the list of certificates: a.example, b.example.");
    let many: Vec<_> = (0..501).map(|number| number.to_string()).collect();
    assert_eq!(
        wrong(admin, "certificate_expiry", json!({"hosts": many})).await,
        [path("hosts", "must have at most 500 items")]
    );
}

pub(super) async fn mail_records(admin: &Client) {
    let run = ran(admin, "lint_mail_records", json!({})).await;
    let result = run.good();
    assert_eq!((&result["domains"], &result["in_order"]), (&json!(3), &json!(1)));
    assert_eq!(
        result["findings"],
        json!({
            "contoso.example": [],
            "fabrikam.example": [
                "SPF needs 11 look-ups, 10 are allowed",
                "DMARC has the policy `none`: nothing is refused",
                "DMARC has no `rua`: nobody gets the reports",
            ],
            "northwind.example": [
                "there are 2 SPF records; receivers take none of them", "there is no DMARC record",
            ],
        })
    );
    let input = json!({"records": {"a.example": ["v=spf1 +all"], "b.example": []}});
    let findings = &ran(admin, "lint_mail_records", input).await;
    assert_eq!(findings.good()["findings"]["a.example"][0], "SPF ends in `+all`: everybody may send");
    assert_eq!(findings.good()["findings"]["b.example"][0], "there is no SPF record");
    let run = ran(admin, "lint_mail_records", json!({"records": {"a b": ["v=spf1"]}})).await;
    assert_eq!(run.refusal(), "`a b` is not a domain.");
    let run = ran(admin, "lint_mail_records", json!({"records": {"a.example": "v=spf1"}})).await;
    let told = "parameter `records.a.example`: 'v=spf1' is not a valid list[str]";
    assert_eq!(run.execution["error_message"], told, "{}", run.execution);
    assert_eq!(
        wrong(admin, "lint_mail_records", json!({"records": ["v=spf1 -all"]})).await,
        [path("records", "must be an object, got [\"v=spf1 -all\"]")]
    );
}

pub(super) async fn offboarding(admin: &Client) {
    let input =
        json!({"email": "charles@contoso.example", "last_day": "2026-03-31", "keep_mailbox_days": 90});
    let run = ran(admin, "offboard_user", input.clone()).await;
    assert_eq!((&run.good()["mailbox_until"], &run.good()["not_done"]), (&json!("2026-06-29"), &json!([])));
    assert_eq!(run.execution["variables"]["checklist"]["done"], run.good()["done"]);

    let mut held = input.clone();
    held["email"] = json!("blaise@contoso.example");
    held["forward_to"] = json!("rosalind@contoso.example");
    let run = ran(admin, "offboard_user", held).await;
    assert_eq!(run.status(), "CompletedWithErrors", "{}", run.execution);
    let why = "1 step needs a person: free the licence: the mailbox is on litigation hold";
    assert_eq!(run.execution["error_message"], why);
    assert!(run.said("INFO").contains(&"Blaise Pascal: forward mail to rosalind@contoso.example"));
    assert_eq!(run.said("WARNING").len(), 1);

    let mut unknown = input;
    unknown["email"] = json!("nobody@contoso.example");
    let run = ran(admin, "offboard_user", unknown).await;
    assert_eq!(run.refusal(), "Nobody has the address nobody@contoso.example.");
    let input =
        json!({"email": "charles", "last_day": "2026-13-01", "keep_mailbox_days": 366, "forward_to": "x"});
    let wrong = wrong(admin, "offboard_user", input).await;
    let paths: Vec<_> = wrong.iter().map(|(path, _)| path.trim_start_matches("input_data.")).collect();
    assert_eq!(paths, ["email", "last_day", "keep_mailbox_days", "forward_to"]);
}

pub(super) async fn passwords(admin: &Client) {
    let input = json!({"reference_date": "2026-03-02"});
    let run = ran(admin, "password_expiry_notice", input.clone()).await;
    let result = run.good();
    assert_eq!(
        (&result["max_age_days"], &result["dry_run"], &result["queued"]),
        (&json!(90), &json!(true), &Value::Null)
    );
    let notices = result["notices"].as_array().expect("notices");
    assert_eq!(
        notices[0],
        json!({"email": "charles@contoso.example", "ends": "2026-01-30", "days_left": -31})
    );
    assert_eq!((notices.len(), run.said("INFO").len()), (4, 4));

    // An organization with a rule of its own; its queue is its own, too.
    let (organization, _) = in_an_organization(admin, "Contoso").await;
    set(&organization, "password_max_age_days", json!(120), false).await;
    let mut real = input.clone();
    real["dry_run"] = json!(false);
    let run = ran(&organization, "password_expiry_notice", real).await;
    assert_eq!(
        (&run.good()["max_age_days"], &run.good()["queued"]),
        (&json!(120), &json!("notices/2026-03-02.csv"))
    );
    let source = "from bifrost import files\nif await files.exists(path, location='uploads'):\n    \
                  return await files.read(path, location='uploads')";
    let queued = json!({"path": "notices/2026-03-02.csv"});
    let text = "email,ends,days_left\ncharles@contoso.example,2026-03-01,-1\n";
    assert_eq!(code(&organization, source, queued.clone()).await, json!(text));
    assert_eq!(code(admin, source, queued).await, Value::Null);

    set(&organization, "password_max_age_days", json!("never"), false).await;
    let run = ran(&organization, "password_expiry_notice", input).await;
    let end = (run.status(), &run.execution["error_type"]);
    assert_eq!(end, ("Failed", &json!("ConfigurationError")), "{}", run.execution);
    assert_eq!(
        wrong(admin, "password_expiry_notice", json!({"days_ahead": 91, "dry_run": []})).await,
        [path("days_ahead", "must be at most 90"), path("dry_run", "must be true or false, got []")]
    );
}

pub(super) async fn customer_report(admin: &Client) {
    let hostile = "<script>alert('x')</script>\" onload=\"x";
    let input = json!({"customer": "fabrikam", "prepared_for": hostile});
    let run = ran(admin, "customer_report", input).await;
    let html = run.good().as_str().expect("a text");
    assert_eq!(run.execution["result_type"], "html");
    for forbidden in ["<script", "\" onload", "<ERR"] {
        assert!(!html.contains(forbidden), "{forbidden}: {html}");
    }
    for shown in [
        "Prepared for &lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot; onload=&quot;x by ",
        "<h1>Fabrikam GmbH &amp; Co. KG</h1>",
        "Printer shows &lt;ERR-49.38&gt; &amp; stops",
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    let devices = rows("customers/devices.csv").iter().filter(|row| row[0] == "fabrikam").count();
    let certificates = rows("security/certificates.csv").iter().filter(|row| row[0] == "fabrikam").count();
    assert_eq!(html.matches("<tr><td>").count(), devices + certificates + 1);
    let counts = json!({"devices": devices, "certificates": certificates, "tickets": 1});
    assert_eq!(run.execution["variables"]["counts"], counts);
    let result = admin.get(&format!("/api/executions/{}/result", run.id())).await.of(200);
    assert_eq!((&result["result"], &result["result_type"]), (run.good(), &json!("html")));

    let run = ran(admin, "customer_report", json!({"customer": "<b>"})).await;
    assert_eq!(run.refusal(), "There is no customer `<b>`.");
    let long = json!({"prepared_for": "x".repeat(201)});
    let wanted = [path("customer", "is required"), path("prepared_for", "must have at most 200 characters")];
    assert_eq!(wrong(admin, "customer_report", long).await, wanted);
}

pub(super) async fn handover(admin: &Client) {
    let run =
        ran(admin, "shift_handover", json!({"shift": "night", "remarks": ["The key is at the desk"]})).await;
    let text = run.good().as_str().expect("a text");
    assert_eq!(run.execution["result_type"], "text");
    assert!(text.starts_with("Handover to the night shift (22:00 to 06:00), written by "), "{text}");
    let tickets: Value = serde_json::from_str(&read("service_desk/tickets.json")).expect("JSON");
    let tickets = tickets.as_array().expect("tickets");
    assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), tickets.len());
    assert!(
        text.lines().any(|line| {
            line == "#4712  NORMAL  290 minutes left         Printer shows <ERR-49.38> & stops"
        }),
        "{text}"
    );
    assert!(text.ends_with("2 urgent, 5 in all\n- The key is at the desk"), "{text}");
    assert_eq!(
        wrong(admin, "shift_handover", json!({"shift": "noon", "remarks": "text"})).await,
        [
            path("shift", "must be one of \"early\", \"late\", \"night\""),
            path("remarks", "must be a list, got \"text\""),
        ]
    );
}

pub(super) async fn tickets(admin: &Client) {
    let run = ran(admin, "triage_tickets", json!({})).await;
    let queue: Vec<_> = run.good()["queue"].as_array().expect("a queue").iter().collect();
    let order: Vec<_> = queue.iter().filter_map(|entry| entry["number"].as_i64()).collect();
    assert_eq!((order, &run.good()["late"]), (vec![4713, 4711, 4715, 4712, 4714], &json!(3)));
    assert_eq!(run.said("WARNING").len(), 3);

    let given = json!([{"number": "1", "subject": "Server down", "affected": "12", "minutes_open": 20},
        {"number": 2, "subject": "Please order a mouse"}]);
    let run = ran(admin, "triage_tickets", json!({"tickets": given, "lowest": "3"})).await;
    assert_eq!(run.good()["queue"], json!([{"number": 1, "priority": "urgent", "is_late": true}]));
    let run = ran(admin, "triage_tickets", json!({"tickets": [{"number": 7, "subject": " "}]})).await;
    assert_eq!(run.refusal(), "Ticket 7 has no subject.");
    // What a ticket has to look like, the run tells.
    let run = ran(admin, "triage_tickets", json!({"tickets": [{"number": 7, "subjekt": "x"}]})).await;
    assert_eq!(run.execution["error_type"], "ValidationError", "{}", run.execution);
    let told =
        "parameter `tickets[0]`: it has no `subjekt`, only number, subject, customer, affected, minutes_open";
    assert_eq!(run.execution["error_message"], told);
    assert_eq!(
        wrong(admin, "triage_tickets", json!({"tickets": [{"number": 1}, "two"], "lowest": 5})).await,
        [path("tickets[1]", "must be an object, got \"two\""), path("lowest", "must be one of 1, 2, 3, 4")]
    );
}

pub(super) async fn about_this_run(admin: &Client) {
    let run = ran(admin, "about_this_run", json!({"note": [1]})).await;
    let result = run.good();
    assert_eq!(
        (&result["execution_id"], &result["attempt"], &result["scope"], &result["organization"]),
        (&json!(run.id()), &json!(1), &json!("GLOBAL"), &Value::Null)
    );
    assert_eq!(result["user"]["email"], "admin@localhost");
    assert_eq!((&result["input"], &result["can_write"]), (&json!({"note": [1]}), &json!(true)));
    let folders = result["folders"].as_array().expect("folders");
    assert!(folders.contains(&json!("people")) && folders.contains(&json!("shared")), "{result}");

    let (client, organization) = in_an_organization(admin, "Fabrikam").await;
    set(&client, "fabrikam_only", json!({"a": 1}), false).await;
    let run = ran(&client, "about_this_run", json!({})).await;
    let result = run.good();
    assert_eq!(
        (&result["organization"]["name"], &result["organization"]["id"], &result["scope"]),
        (&json!("Fabrikam"), &organization["id"], &organization["id"])
    );
    // Its own settings and the global ones, by their names.
    assert_eq!(result["settings"], json!(["distributor_token", "fabrikam_only"]));
}
