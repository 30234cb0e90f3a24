"""Entities without identity for notebooks and servers: no way leads back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.command_line import run
from tests.deidentify.planted import FILES, SECRETS
from warehouse.deidentify.profile import profile
from warehouse.deidentify.rows import ENTITIES, open_views, write_views
from warehouse.dicom.dictionary import keyword_tags
from warehouse.errors import SourceNotFound, TargetExists, UsageError
from warehouse.server.deidentified import COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deidentify.conftest import Exported


@pytest.fixture(scope="module")
def views(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("views") / "shared.duckdb"
    counts = exported.wh.deidentified.write_views(
        target, retain=("dates-shifted",), key=exported.how.key
    )
    assert counts == {"patients": 1, "studies": 2, "series": FILES, "instances": FILES}
    return target


@pytest.mark.acceptance("D80")
def test_no_value_of_the_source_is_in_a_table_or_in_the_file(views: Path) -> None:
    content = views.read_bytes().lower()
    connection = open_views(views)
    shown = "".join(
        str(connection.execute(f"from {entity}").fetchall()) for entity in ENTITIES
    ).lower()
    for secret in SECRETS:
        assert secret.lower() not in shown
        assert secret.lower().encode() not in content
    assert b"/in/" not in content
    columns = {
        name
        for entity in ENTITIES
        for name, *_ in connection.execute(f"describe {entity}").fetchall()
    }
    assert not columns & {
        "file_path",
        "path",
        "batch",
        "instance_id",
        "family_name",
        "PatientBirthDate",
        "AccessionNumber",
        "pixel_offset",
    }


def test_entities_join_and_agree_with_files(exported: Exported, views: Path) -> None:
    connection = open_views(views)
    joined = connection.execute(
        "select count(*) from instances join series using (series_key) join studies on studies.study_key = series.study_key "
        "join patients on patients.patient_key = studies.patient_key"
    ).fetchone()
    assert joined == (FILES,)
    uids = {uid for (uid,) in connection.execute("select SOPInstanceUID from instances").fetchall()}
    assert uids == {path.stem for path in exported.folder.rglob("*.dcm")}
    days = connection.execute("select max(StudyDate) - min(StudyDate) from studies").fetchone()
    assert days == (11,)


@pytest.mark.parametrize(
    "question",
    [
        "from read_parquet('{root}/instances/**/*.parquet')",
        "from read_text('{root}/warehouse.json')",
        "attach '{root}/other.duckdb' as other",
        "copy (select 1) to '{root}/made.csv'",
        "set enable_external_access = true",
        "insert into instances select * from instances",
        "select * from dicom_warehouse.instances",
        "install httpfs",
        "load httpfs",
        "from '{root}/instances/part.parquet'",
        "from read_csv('{root}/warehouse.json')",
        "from read_json('{root}/warehouse.json')",
        "from read_blob('{root}/**')",
        "from glob('{root}/**')",
        "from parquet_metadata('{root}/instances/**/*.parquet')",
        "from sniff_csv('{root}/warehouse.json')",
        "copy instances to '{root}/made.parquet'",
        "copy instances from '{root}/warehouse.json'",
        "export database '{root}/made'",
        "import database '{root}/made'",
        "attach ':memory:' as free",
        "detach shared",
        "reset lock_configuration",
        "set allowed_directories = ['/']",
        "set extension_directory = '/'",
        "set home_directory = '/'",
        "create secret held (type s3, key_id 'a', secret 'b')",
        "create table deidentified.mine as select 1",
        "create view deidentified.mine as select 1",
        "create temp view mine as from read_text('{root}/warehouse.json')",
        "create temp macro mine() as table from read_text('{root}/warehouse.json')",
        "from duckdb_secrets()",
        "drop table instances",
        "update instances set PatientID = 'x'",
        "from query('from read_text(''{root}/warehouse.json'')')",
        "from elements",
        "from main.instances",
        "from old_patients",
        "from new_uids",
        "from temp.new_patients",
    ],
)
def test_no_question_leads_back(exported: Exported, views: Path, question: str) -> None:
    with pytest.raises(duckdb.Error):
        open_views(views).execute(question.format(root=exported.wh.root)).fetchall()


def test_what_duckdb_says_of_itself_leads_nowhere(exported: Exported, views: Path) -> None:
    connection = open_views(views)
    told = {
        name: str(connection.execute(question).fetchall())
        for name, question in {
            "views": "select sql from duckdb_views() where not internal",
            "view definitions": "select view_definition from information_schema.views where table_catalog = 'shared'",
            "macros": "select macro_definition from duckdb_functions() where not internal",
            "tables": "select sql, comment, tags from duckdb_tables()",
            "columns": "select comment, column_default from duckdb_columns() where not internal",
            "constraints": "from duckdb_constraints()",
            "indexes": "select sql from duckdb_indexes()",
            "sequences": "from duckdb_sequences()",
            "types": "select * from duckdb_types() where not internal",
            "schemas": "select sql from duckdb_schemas()",
            "databases": "select database_name, comment, tags from duckdb_databases()",
            "settings": "select name, value from duckdb_settings()",
            "variables": "from duckdb_variables()",
            "temporary files": "from duckdb_temporary_files()",
            "storage": "from pragma_storage_info('deidentified.instances')",
            "information_schema": "select table_catalog, table_schema, table_name from information_schema.tables",
        }.items()
    }
    for name, text in told.items():
        for secret in (*SECRETS, str(exported.wh.root), str(exported.planted.folder), "1.2.826.0"):
            assert secret.lower() not in text.lower(), name
    assert told["views"] == told["view definitions"] == told["macros"] == "[]"
    assert told["variables"] == "[]"
    tables = connection.execute(
        "select distinct schema_name, table_name from duckdb_tables()"
    ).fetchall()
    assert set(tables) == {("deidentified", entity) for entity in ENTITIES}


def test_the_role_of_the_server_sees_no_column_that_an_export_changes() -> None:
    changed = set(profile().actions)
    assert not {name for name in COLUMNS if keyword_tags().get(name) in changed}


def test_files_that_are_none_and_files_that_are_there(
    exported: Exported, views: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceNotFound):
        open_views(tmp_path / "none")
    (tmp_path / "text").write_text("text")
    with pytest.raises(UsageError):
        open_views(tmp_path / "text")
    with pytest.raises(TargetExists):
        write_views(exported.wh.root, views)


def test_the_command(exported: Exported, tmp_path: Path) -> None:
    made = run("deidentify", "views", str(tmp_path / "a.duckdb"), "-w", str(exported.wh.root))
    assert made.returncode == 0, made.stderr
    assert "1 patient," in made.stdout
    dates = open_views(tmp_path / "a.duckdb").execute("describe studies").fetchall()
    assert "StudyDate" not in {name for name, *_ in dates}
