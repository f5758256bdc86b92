//! IAM separates tenants: with a session of one tenant, access to another's items and objects is
//! refused, independent of our code.

use aias_domain::{id::TenantId, secret::SecretName};
use aias_platform::{
    clock::{Clock, random_id},
    store::{Proof, Store},
    tenant_credentials,
};
use aias_testkit::{
    aws,
    stack::{self, Stack},
    wire::Wire,
};
use serde_json::Value;

/// Calls as an operator's tools, and with the session of a tenant.
const PROGRAM: &str = r#"
import json, sys, urllib.request, urllib.error, uuid
import boto3
what, url, stack, logical, tenant, other, table, bucket = sys.argv[1:9]

def client(name, session=None):
    keys = session or {"AccessKeyId": "test", "SecretAccessKey": "test", "SessionToken": None}
    return boto3.client(
        name, endpoint_url=url, region_name="us-east-1", aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])

iam, sts, cloudformation = client("iam"), client("sts"), client("cloudformation")

def deployed(logical):
    found = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=logical)
    return found["StackResourceDetail"]["PhysicalResourceId"]

def tried(call):
    try:
        call()
        return "done"
    except urllib.error.HTTPError as error:
        return "denied" if error.code == 403 else f"failed: {error.code}"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return "denied" if "AccessDenied" in text or "not authorized" in text else f"failed: {text}"

def copied(logical):
    # The deployed role's policies, on a role that the test may take on.
    name, copy = deployed(logical), f"{logical}-{uuid.uuid4().hex[:12]}"
    account = sts.get_caller_identity()["Account"]
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["sts:AssumeRole", "sts:TagSession"]}]}
    arn = iam.create_role(RoleName=copy, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        iam.put_role_policy(RoleName=copy, PolicyName=policy, PolicyDocument=json.dumps(document))
    return arn

def session(arn, tags):
    return sts.assume_role(RoleArn=arn, RoleSessionName="test", Tags=tags)["Credentials"]

def tagged(arn):
    return session(arn, [{"Key": "tenant_id", "Value": tenant}])

def items(own, whose):
    pk, home = {"S": f"TENANT#{whose}#X"}, {"S": f"TENANT#{whose}"}
    key, mine = {"PK": pk, "SK": {"S": "x"}}, {"PK": {"S": f"TENANT#{tenant}#X"}, "SK": {"S": "y"}}
    values = {":pk": home}
    put = lambda key: {"Put": {"TableName": table, "Item": key}}
    return {
        "get": tried(lambda: own.get_item(TableName=table, Key=key)),
        "get at home": tried(lambda: own.get_item(TableName=table, Key={"PK": home, "SK": {"S": "TENANT"}})),
        "query": tried(lambda: own.query(TableName=table, KeyConditionExpression="PK = :pk", ExpressionAttributeValues=values)),
        "put": tried(lambda: own.put_item(TableName=table, Item=key)),
        "update": tried(lambda: own.update_item(TableName=table, Key=key, UpdateExpression="SET a = :a", ExpressionAttributeValues={":a": {"S": "a"}})),
        "transaction": tried(lambda: own.transact_write_items(TransactItems=[put(key)])),
        "mixed transaction": tried(lambda: own.transact_write_items(TransactItems=[put(mine), put(key)])),
        "batch": tried(lambda: own.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": key}}]})),
        "mixed batch": tried(lambda: own.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": mine}}, {"PutRequest": {"Item": key}}]})),
        "delete": tried(lambda: own.delete_item(TableName=table, Key=key)),
    }

def always(own):
    hour = {":hour": {"S": "ACTIVE#2026-11-21T12"}}
    return {
        "scan": tried(lambda: own.scan(TableName=table)),
        "index": tried(lambda: own.query(TableName=table, IndexName="active", KeyConditionExpression="active_hour = :hour", ExpressionAttributeValues=hour)),
        "statement": tried(lambda: own.execute_statement(Statement=f'SELECT * FROM "{table}"')),
    }

def objects(own, whose):
    key, body = f"{whose}/inputs/00", b"{}"
    client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    signed = own.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    return {
        "object get": tried(lambda: own.get_object(Bucket=bucket, Key=key)),
        "object put": tried(lambda: own.put_object(Bucket=bucket, Key=key, Body=body)),
        "object presigned": tried(lambda: urllib.request.urlopen(signed).read()),
    }

if what == "copy":
    print(copied(logical))
elif what == "apart":
    dynamodb = client("dynamodb", tagged(copied("TenantsTenantRole")))
    s3 = client("s3", tagged(copied("RunsTenantRole")))
    untagged = client("dynamodb", session(copied("TenantsTenantRole"), []))
    told = {
        "own": {**items(dynamodb, tenant), **objects(s3, tenant)},
        "other": {**items(dynamodb, other), **objects(s3, other)},
        "never": {**always(dynamodb), "object list": tried(lambda: s3.list_objects_v2(Bucket=bucket))},
        "untagged": {"get": tried(lambda: untagged.get_item(TableName=table, Key={"PK": {"S": f"TENANT#{tenant}"}, "SK": {"S": "TENANT"}}))},
    }
    print(json.dumps(told))
elif what == "trust":
    role = iam.get_role(RoleName=deployed(logical))["Role"]
    told = {"policy": role["AssumeRolePolicyDocument"], "assumed": tried(lambda: tagged(role["Arn"]))}
    print(json.dumps(told))
"#;

fn program(stack: &Stack, what: &str, logical: &str, tenants: [TenantId; 2]) -> String {
    let [tenant, other] = tenants.map(|id| id.to_string());
    let (table, bucket) = (stack.output("TableName"), stack.output("BucketName"));
    let arguments = [
        what,
        stack.url(),
        stack.output("stack"),
        logical,
        &tenant,
        &other,
        table,
        bucket,
    ];
    stack.python(PROGRAM, &arguments)
}

fn tenants() -> [TenantId; 2] {
    let now = Clock::system().now();
    [0, 1].map(|_| TenantId::new(now, random_id()))
}

#[test]
fn session_cannot_access_other_tenant() {
    let stack = stack::get();
    let told = program(stack, "apart", "", tenants());
    let told: Value = serde_json::from_str(&told).unwrap();
    for (whose, expected) in [
        ("own", "done"),
        ("other", "denied"),
        ("never", "denied"),
        ("untagged", "denied"),
    ] {
        let all = told[whose].as_object().unwrap();
        assert!(!all.is_empty());
        for (what, result) in all {
            assert_eq!(result, expected, "{whose} {what}");
        }
    }
    println!("{told}");
}

#[test]
fn tenant_role_requires_function_and_tag() {
    let stack = stack::get();
    for function in [
        "WebhookEndpoints",
        "Workflows",
        "Runs",
        "Artifacts",
        "Tenants",
        "Billing",
        "Diagnostics",
        "Console",
    ] {
        let role = format!("{function}TenantRole");
        let told: Value = serde_json::from_str(&program(stack, "trust", &role, tenants())).unwrap();
        let statements = told["policy"]["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1, "{told}");
        let principal = statements[0]["Principal"]["AWS"].as_str().unwrap();
        assert!(
            principal.contains(&format!("{function}Role")),
            "{principal}"
        );
        let tag = &statements[0]["Condition"]["StringLike"]["aws:RequestTag/tenant_id"];
        assert_eq!(tag, "ten_*", "{told}");
        assert_eq!(told["assumed"], "denied", "{role}");
    }
}

#[tokio::test]
async fn cached_session_needs_no_call() {
    let stack = stack::get();
    let tenants = tenants();
    let role = program(stack, "copy", "TenantsTenantRole", tenants);
    let wire = Wire::default();
    let config = tenant_credentials::scoped(&aws::config(stack.url(), &wire), role);
    let store = Store::new(&config, stack.output("TableName").to_owned());
    let name: SecretName = "s".parse().unwrap();
    let read = |as_whom: TenantId, whose: TenantId| {
        let (store, name) = (&store, &name);
        tenant_credentials::as_tenant(as_whom, async move {
            let own = store.tenant(Proof::for_tests(whose));
            own.secret(name).await
        })
    };
    let [one, other] = tenants;
    for (who, session) in [(one, 1), (one, 0), (other, 1), (one, 0), (other, 0)] {
        wire.reset();
        assert!(read(who, who).await.unwrap().is_none());
        let calls = wire.calls();
        println!("{who}: {calls:?}");
        assert_eq!(calls.len(), 1 + session, "{calls:?}");
        assert_eq!(calls.last().unwrap(), "DynamoDB.GetItem");
    }
    // Concurrently, each with its own session.
    let (ours, theirs, crossed) =
        tokio::join!(read(one, one), read(other, other), read(one, other));
    assert!(ours.is_ok() && theirs.is_ok());
    let refused = format!("{:?}", crossed.unwrap_err());
    assert!(refused.contains("AccessDenied"), "{refused}");
}
