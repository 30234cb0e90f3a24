"""``dagster.yaml`` is read, and says what it seems to say."""

import shutil
from pathlib import Path

import dagster as dg


def test_the_instance_is_configured(tmp_path, monkeypatch):
    shutil.copyfile(Path(__file__).parents[2] / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.get_settings("run_retries")["retry_on_asset_or_op_failure"]
        settings = instance.get_settings("concurrency")
        assert settings["pools"] == {"default_limit": 1, "granularity": "run"}
        assert instance.event_log_storage.supports_global_concurrency_limits
        instance.add_dynamic_partitions("batch", ["000001"])
    # Everything written lies in the one folder that git ignores.
    assert {path.name for path in tmp_path.iterdir()} == {"dagster.yaml", ".dagster"}
