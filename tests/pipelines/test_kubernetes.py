"""The manifest of a job as a pod, and the asset of the how-to page that starts such pods."""

import copy
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import dagster as dg
import pytest
import yaml

import warehouse
from pipelines.definitions import build_definitions
from pipelines.resources import IntakeResource
from tests.algorithms.conftest import template  # noqa: F401 - a fixture
from tests.command_line import run

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
POD, POLICY = yaml.safe_load_all((HOW_TO / "kubernetes.yaml").read_text())
SPEC = POD["spec"]
CLAIM, ALGORITHM = SPEC["initContainers"]
(REPORT,) = SPEC["containers"]


def test_what_a_pod_of_an_algorithm_may_do():
    assert (POD["apiVersion"], POD["kind"]) == ("v1", "Pod")
    assert SPEC["restartPolicy"] == "Never"
    assert SPEC["automountServiceAccountToken"] is SPEC["enableServiceLinks"] is False
    # Longer than the time that a job may have is for nobody; a day is when its claim ends.
    assert 0 < SPEC["activeDeadlineSeconds"] < 86_400
    assert SPEC["securityContext"]["runAsNonRoot"] is True
    assert SPEC["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in (CLAIM, ALGORITHM, REPORT):
        context = each["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (
            False,
            {"drop": ["ALL"]},
        )
        assert context.get("runAsUser", SPEC["securityContext"]["runAsUser"]) > 0
        assert "memory" in each["resources"]["limits"]
    limits = ALGORITHM["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert limits["memory"] == ALGORITHM["resources"]["requests"]["memory"]
    assert "ephemeral-storage" in limits
    # The image runs as it is, and named by its digest.
    assert not {"command", "args"} & set(ALGORITHM)
    assert re.search(r"@sha256:[0-9a-f]{64}$", ALGORITHM["image"])


def test_which_folders_a_container_sees():
    volumes = {volume["name"]: volume for volume in SPEC["volumes"]}
    for each in (CLAIM, ALGORITHM, REPORT):
        assert {mount["name"] for mount in each["volumeMounts"]} <= set(volumes)
    mounts = {mount["mountPath"]: mount for mount in ALGORITHM["volumeMounts"]}
    assert set(mounts) == {"/input", "/output", "/tmp", "/dev/shm"}
    assert mounts["/input"] == {
        "name": "work", "mountPath": "/input", "subPath": "job/input", "readOnly": True,
    }  # fmt: skip
    assert mounts["/output"]["subPath"] == "job/output"
    for name in ("work", "tmp", "shm"):
        assert "sizeLimit" in volumes[name]["emptyDir"]
    assert "warehouse" not in {mount["name"] for mount in ALGORITHM["volumeMounts"]}
    assert "env" not in ALGORITHM
    assert volumes["warehouse"]["persistentVolumeClaim"]


def test_no_container_of_a_pod_has_a_network():
    assert (POLICY["apiVersion"], POLICY["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    labels = POLICY["spec"]["podSelector"]["matchLabels"]
    assert labels.items() <= POD["metadata"]["labels"].items()
    assert sorted(POLICY["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    # No rule that would let anything through.
    assert not {"ingress", "egress"} & set(POLICY["spec"])


class Pods:
    """Runs the commands of a pod here, as Kubernetes would in containers, one after the other."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root, self.work, self.started = root, work, []

    def run(self, *, context, base_pod_meta, base_pod_spec):
        job = base_pod_meta["annotations"]["dicom-warehouse/job"]
        self.started.append(job)
        try:
            self._containers(base_pod_spec, job)
        finally:
            shutil.rmtree(self.work)  # as the empty folder of a pod

    def _containers(self, spec, job):
        claim, algorithm = spec["initContainers"]
        (report,) = spec["containers"]
        self._command(claim, job)
        mounts = {each["mountPath"]: each.get("subPath") for each in algorithm["volumeMounts"]}
        age = (self.work / mounts["/input"] / "age.json").read_text()
        if age == "3":
            raise RuntimeError("the pod ended with 137")
        (self.work / mounts["/output"] / "count.json").write_text(age)
        self._command(report, job)

    def _command(self, container, job):
        env = {each["name"]: each for each in container["env"]}
        assert (
            env["JOB"]["valueFrom"]["fieldRef"]["fieldPath"]
            == "metadata.annotations['dicom-warehouse/job']"
        )
        words = [
            word.replace("$(JOB)", job).replace("/scratch", str(self.work))
            for word in container["command"]
        ]
        done = run(*words[1:], DICOM_WAREHOUSE=str(self.root))
        assert done.returncode == 0, done.stderr + shlex.join(words)


def test_the_commands_of_a_pod_claim_and_report_a_job(template, tmp_path):  # noqa: F811
    root = tmp_path / "w"
    shutil.copytree(template, root)
    wh = warehouse.open(root)
    wh.algorithms.create("outside", "age -> voxel-count", api_method="external")
    age = wh.add_value("age", 41, patient="P1").value_id
    job = wh.algorithms.submit("outside", {"age": age}).job_id
    meta = {"annotations": {"dicom-warehouse/job": job}}
    Pods(root, tmp_path / "work").run(context=None, base_pod_meta=meta, base_pod_spec=SPEC)
    wh.refresh()
    assert wh.sql("select label from jobs").fetchall() == [("Succeeded",)]


@pytest.mark.long("test_the_commands_of_a_pod_claim_and_report_a_job")
@pytest.mark.usefixtures("asked_here")
def test_the_asset_of_the_how_to_starts_a_pod_for_each_job(
    template,  # noqa: F811
    tmp_path,
    monkeypatch,
    instance,
):
    root = tmp_path / "w"
    shutil.copytree(template, root)
    wh = warehouse.open(root)
    wh.algorithms.create("outside", "age -> voxel-count", api_method="external")
    for patient, age in (("P1", 41), ("P2", 3)):
        wh.add_value("age", age, patient=patient)
    wh.save_cohort("cts", "select series_key from instances where Modality = 'CT'")
    key = f"outside@{wh.cohort('cts').run}"
    wh.close()
    pods = Pods(root, tmp_path / "work")
    page = (HOW_TO / "algorithms.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python file=pods.py\n(.*?)```", page, re.DOTALL)
    # The client needs a cluster: what it is asked to start runs here instead.
    stand_in = types.ModuleType("dagster_k8s")
    stand_in.PipesK8sClient = Pods
    monkeypatch.setitem(sys.modules, "dagster_k8s", stand_in)
    shutil.copy(HOW_TO / "kubernetes.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "pods"}
    exec(compile(code, "pods.py", "exec"), names)
    assert names["POD"] == POD
    before = copy.deepcopy(names["POD"])
    asset = names["algorithm_pods"]
    intake = IntakeResource(root=str(root))
    made = dg.Definitions.merge(
        build_definitions(intake), dg.Definitions(assets=[asset], resources={"pods": pods})
    )
    job = made.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey("algorithm_jobs"), dg.AssetKey("algorithm_pods")}
    )
    instance.add_dynamic_partitions("algorithm_run", [key])
    assert job.execute_in_process(instance=instance, partition_key=key).success
    assert len(set(pods.started)) == 2
    assert names["POD"] == before
    rows = warehouse.open(root).sql(
        "select status, voxel_count, why_not from outputs('outside') order by voxel_count nulls last"
    ).fetchall()  # fmt: skip
    assert rows == [("Succeeded", 41, None), ("Failed", None, "the pod failed: RuntimeError")]
