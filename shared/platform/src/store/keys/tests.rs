use super::*;

#[test]
fn keys_have_expected_form() {
    let at: Timestamp = "2026-11-21T23:30:00Z".parse().unwrap();
    let ten = TenantId::new(at, 1);
    let (wf, whe, run_id) = (
        WorkflowId::new(at, 2),
        EndpointId::new(at, 3),
        RunId::new(at, 4),
    );
    let sub: UserId = "auth0|x".parse().unwrap();
    let spelled: Vec<String> = [
        tenant(ten),
        member(ten, &sub),
        invitation(ten, InvitationId::new(at, 6)),
        api_key(ten, KeyId::new(at, 5)),
        token(ten, "k1.h"),
        workflow(ten, wf),
        version(ten, wf, 7),
        endpoint(ten, whe),
        hook(ten, "k1.h"),
        delivery(ten, whe, Slot::Minute(7)),
        delivery(ten, whe, Slot::Recent(19)),
        idempotency(ten, "h"),
        usage(ten, at, 0),
        event(ten, whe, "h"),
        run(ten, run_id),
        log_chunk(ten, run_id, 12),
        workflow_names(ten, "ns", "name").key(&wf.to_string()),
        journal(ten, run_id).key(&place(3)),
        events(ten, run_id).key(&place(4)),
        replays(ten, run_id).key(&run_id.to_string()),
        wake(ten, run_id, wf, at),
        user_tenant(&sub, ten),
        user_idempotency(&sub, "h"),
        created_tenants(&sub, at),
        subscription(ten),
        running(ten, 3),
        meter(ten),
        scheduled_task(ten, Task::ApplyPlan),
        scheduled_task(ten, Task::Resume),
        scheduled_task(ten, Task::Meter),
        suspended(ten, run_id),
        metered(ten, at),
        customer("cus_1"),
        applied("evt_1"),
    ]
    .into_iter()
    .map(|key| format!("{} | {}", key.pk, key.sk))
    .collect();
    insta::assert_snapshot!(spelled.join("\n"), @r"
        TENANT#ten_01M8073Z600000000000000001 | TENANT
        TENANT#ten_01M8073Z600000000000000001 | MEMBER#auth0|x
        TENANT#ten_01M8073Z600000000000000001 | INVITATION#inv_01M8073Z600000000000000006
        TENANT#ten_01M8073Z600000000000000001 | KEY#key_01M8073Z600000000000000005
        TENANT#ten_01M8073Z600000000000000001 | TOKEN#k1.h
        TENANT#ten_01M8073Z600000000000000001 | WORKFLOW#wf_01M8073Z600000000000000002
        TENANT#ten_01M8073Z600000000000000001 | WORKFLOW#wf_01M8073Z600000000000000002#V#00000007
        TENANT#ten_01M8073Z600000000000000001 | ENDPOINT#whe_01M8073Z600000000000000003
        TENANT#ten_01M8073Z600000000000000001 | HOOK#k1.h
        TENANT#ten_01M8073Z600000000000000001#DELIVERIES#whe_01M8073Z600000000000000003 | MINUTE#07
        TENANT#ten_01M8073Z600000000000000001#DELIVERIES#whe_01M8073Z600000000000000003 | RECENT#19
        TENANT#ten_01M8073Z600000000000000001 | IDEMPOTENCY#h
        TENANT#ten_01M8073Z600000000000000001#USAGE#2026-11#0 | USAGE
        TENANT#ten_01M8073Z600000000000000001#EVENT#whe_01M8073Z600000000000000003#h | EVENT
        TENANT#ten_01M8073Z600000000000000001#RUNS#2026-11-21#4 | RUN#run_01M8073Z600000000000000004
        TENANT#ten_01M8073Z600000000000000001#RUN#run_01M8073Z600000000000000004 | LOG#00000012
        TENANT#ten_01M8073Z600000000000000001 | NAME#ns#name#wf_01M8073Z600000000000000002
        TENANT#ten_01M8073Z600000000000000001#RUN#run_01M8073Z600000000000000004 | EFFECT#00000003
        TENANT#ten_01M8073Z600000000000000001#RUN#run_01M8073Z600000000000000004 | EVENT#00000004
        TENANT#ten_01M8073Z600000000000000001#RUN#run_01M8073Z600000000000000004 | REPLAY#run_01M8073Z600000000000000004
        TENANT#ten_01M8073Z600000000000000001#RUN#run_01M8073Z600000000000000004 | WAKE#001795303800#wf_01M8073Z600000000000000002
        USER#auth0|x | TENANT#ten_01M8073Z600000000000000001
        USER#auth0|x | IDEMPOTENCY#h
        USER#auth0|x | CREATED#2026-11
        TENANT#ten_01M8073Z600000000000000001 | SUBSCRIPTION
        TENANT#ten_01M8073Z600000000000000001#RUNNING#3 | RUNNING
        TENANT#ten_01M8073Z600000000000000001 | METER
        TENANT#ten_01M8073Z600000000000000001 | DUE#SETTLE
        TENANT#ten_01M8073Z600000000000000001 | DUE#RESUME
        TENANT#ten_01M8073Z600000000000000001 | DUE#METER
        TENANT#ten_01M8073Z600000000000000001#SUSPENDED | RUN#run_01M8073Z600000000000000004
        TENANT#ten_01M8073Z600000000000000001#METER#2026-11 | HOUR#2026-11-21T23
        STRIPE#cus_1 | CUSTOMER
        STRIPE_EVENT#evt_1 | EVENT
        ");
    assert_eq!(active_hour(ten, at), "ACTIVE#2026-11-21T23#1");
    assert_eq!(task_hour(ten, at), "DUE#2026-11-21T23#1");
    assert_eq!(wake_hour(run_id, at), "DUE#2026-11-21T23#0");
    assert_eq!(due_hours(at).nth(4).unwrap(), "DUE#2026-11-21T23#4");
    assert_eq!(tenant_of(&usage(ten, at, 0).pk), Some(ten));
    assert_eq!(tenant_of("USER#x"), None);
    let woken = wake(ten, run_id, wf, at);
    assert_eq!(wake_of(&woken.pk, &woken.sk), Some((ten, run_id, wf, at)));
    assert_eq!(wake_of(&woken.pk, "DUE#SETTLE"), None);
}

#[test]
fn active_tenant_is_found_in_its_shard() {
    let at: Timestamp = "2026-11-21T23:30:00Z".parse().unwrap();
    let mut hours = std::collections::BTreeSet::new();
    for n in 0..500 {
        let tenant = TenantId::new(at, n * 131);
        let own = active_hour(tenant, at);
        let shard = own.rsplit('#').next().unwrap().parse().unwrap();
        assert!(active_hours(shard, at, at).any(|key| key == own), "{own}");
        hours.insert(own);
    }
    // In each shard, hours begin at different times.
    assert!(hours.len() > usize::from(INDEX_SHARDS), "{hours:?}");
}
