"""The deployed stack on this machine: emulator, issuer, packages, CloudFormation."""

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from secrets import token_hex

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from build import ROOT, Failed, target_folder
from issuer import AUDIENCE
from processes import LocalStack

STRIPE_API_KEY = "sk_test_local"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


class Stack(LocalStack):
    def __init__(self, name: str, port: int, state: Path, profile: str = "debug"):
        super().__init__(port, state, "emulator.log")
        self.name, self.profile = name, profile
        self.outputs = {}

    def client(self, service):
        config = Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=120)
        return boto3.client(service, endpoint_url=self.url, config=config, **CREDENTIALS)

    def start(self):
        self.prepare()
        temporary = self.state / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        environment = {
            **os.environ,
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "AUTH": "true",
            "LOG_LEVEL": "WARNING",
            "PERSIST_STATE": "1",
            "S3_PERSIST": "1",
            "STATE_DIR": str(self.state / "aws"),
            "S3_DATA_DIR": str(self.state / "s3"),
            # Temporary files, such as unpacked functions.
            "TMPDIR": str(temporary),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        command = [sys.executable, str(Path(__file__).with_name("emulator.py"))]
        self.launch("the local AWS", command, environment, "/_ministack/health")

    def stop(self):
        super().stop()
        if self.process:
            try:
                # The functions that it started.
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def package(self, parameters: dict) -> str:
        """The template with the functions' zips in a bucket, as `sam package` does. The local SAM
        transform only uses defaults, so parameters are written there as well."""
        bucket, s3 = "aias-packages", self.client("s3")
        try:
            s3.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
        known = {o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}

        def upload(match):
            binary = target_folder(self.profile) / match.group(2)
            digest = hashlib.sha256(binary.read_bytes()).hexdigest()
            key = f"{match.group(2)}-{digest[:16]}.zip"
            if key not in known:
                archive = self.state / "package.zip"
                with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
                    made.write(binary, "bootstrap")
                s3.upload_file(str(archive), bucket, key)
                archive.unlink()
            return f"{match.group(1)}s3://{bucket}/{key}"

        template = (ROOT / "template.yaml").read_text()
        for name, value in parameters.items():
            default = re.compile(rf"(\n  {name}:\n    Type: \S+\n    Default: )[^\n]*")
            template = default.sub(lambda match, v=value: match.group(1) + json.dumps(v), template)
        return re.sub(r"(Binary: (\S+)\n    Properties:\n      CodeUri: )\.", upload, template)

    def deploy(self):
        """Creates or updates the stack."""
        machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
        parameters = {
            "OidcIssuer": self.issuer.url,
            "OidcAudience": AUDIENCE,
            "AllowedOrigins": "http://localhost:3000",
            "StripeApiUrl": self.stripe_url,
            "OutboundNetworks": "127.0.0.0/8",
            "Architecture": machine,
            "DeletionProtection": "false",
            "RequireTls": "false",
        }
        cloudformation = self.client("cloudformation")
        template = self.package(parameters)
        mark = hashlib.sha256((template + json.dumps(parameters)).encode()).hexdigest()
        deployed = self.state / "deployed"
        exists = self._stack(cloudformation) is not None
        if not exists or not deployed.exists() or deployed.read_text() != mark:
            call = cloudformation.update_stack if exists else cloudformation.create_stack
            self.client("s3").put_object(Bucket="aias-packages", Key="template.yaml", Body=template.encode())
            try:
                call(
                    StackName=self.name,
                    TemplateURL=f"{self.url}/aias-packages/template.yaml",
                    Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
                    Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
                )
            except ClientError as error:
                if "No updates" not in str(error):
                    raise
            self._wait(cloudformation)
            deployed.write_text(mark)
        stack = self._stack(cloudformation)
        self.outputs = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
        self._start_stripe()

    def tenant_role(self):
        """A role with the permissions of all tenant roles, for functions that run outside of the local
        AWS, where the deployed roles cannot be assumed."""
        iam, name = self.client("iam"), f"{self.name}-outside"
        account = self.client("sts").get_caller_identity()["Account"]
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
        try:
            document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        except iam.exceptions.EntityAlreadyExistsException:
            pass
        resources = self.client("cloudformation").describe_stack_resources(StackName=self.name)
        for resource in resources["StackResources"]:
            if not resource["LogicalResourceId"].endswith("TenantRole"):
                continue
            role = resource["PhysicalResourceId"]
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
        return iam.get_role(RoleName=name)["Role"]["Arn"]

    def _start_stripe(self):
        """Starts the Stripe mock with the key and the secret of the functions."""
        manager = self.client("secretsmanager")
        key = json.dumps({"current": STRIPE_API_KEY})
        manager.put_secret_value(SecretId=self.outputs["StripeApiKeySecretArn"], SecretString=key)
        arn = self.outputs["StripeWebhookSecretArn"]
        kept = json.loads(manager.get_secret_value(SecretId=arn)["SecretString"])["current"]
        if not kept.startswith("whsec_"):
            # A secret in Stripe's form, in place of the one that the template generates.
            kept = f"whsec_{token_hex(32)}"
            manager.put_secret_value(SecretId=arn, SecretString=json.dumps({"current": kept}))
        self.stripe_webhook_secret = kept
        self.start_stripe(STRIPE_API_KEY)

    def _stack(self, cloudformation):
        try:
            return cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError:
            return None

    def _wait(self, cloudformation):
        for _ in range(1200):
            status = self._stack(cloudformation)["StackStatus"]
            if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                return
            if "FAILED" in status or "ROLLBACK" in status:
                events = cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
                why = [e.get("ResourceStatusReason") for e in events if "FAILED" in e.get("ResourceStatus", "")]
                raise Failed(f"the template was not deployed ({status}): {why[-1] if why else 'no reason given'}")
            time.sleep(0.1)
        raise Failed("the template was not deployed in two minutes")

    def wait_healthy(self):
        last = None
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"{self.url}/api/health", timeout=20) as answer:
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as error:
                last = error.read().decode(errors="replace")
            except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
                last = str(error)
            time.sleep(0.2)
        raise Failed(f"the API is not healthy: {last}; the log is {self.state / 'emulator.log'}")
