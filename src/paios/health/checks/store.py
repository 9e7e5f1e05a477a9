"""The database: which SQLite, a write that is read back, and SQLite's own integrity check."""

from __future__ import annotations

from anyio import to_thread

from paios.base.db import SAFE_WAL, library
from paios.base.errors import StoreError
from paios.health.check import Finding, Scene


async def check(scene: Scene) -> list[Finding]:
    package, version, safe = library()
    wanted = ".".join(map(str, SAFE_WAL))
    findings = [
        Finding("sqlite.version", "ok", f"SQLite {version} from {package}")
        if safe
        else Finding(
            "sqlite.version",
            "warning",
            f"SQLite {version} from {package} has a fault in WAL mode that {wanted} mended: the slower journal is used",
            "use a Python with a newer SQLite, or a platform for which pysqlite3 has a wheel",
        )
    ]
    try:
        await to_thread.run_sync(_round_trip, scene)
        wrong = await to_thread.run_sync(scene.db.check)
    except StoreError as error:
        return [*findings, Finding("store.write", "problem", error.message, error.remedy)]
    findings.append(Finding("store.write", "ok", f"{scene.db.path} takes writes"))
    if wrong:
        findings.append(
            Finding(
                "store.integrity",
                "problem",
                f"the database is damaged: {wrong[0]}",
                "`ai doctor --rebuild` makes its tables anew",
            )
        )
    return findings


def _round_trip(scene: Scene) -> None:
    with scene.db.write() as connection:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS doctor (n INTEGER)")
        connection.execute("INSERT INTO doctor VALUES (1)")
        if connection.execute("SELECT count(*) FROM doctor").fetchone()[0] < 1:
            raise StoreError(f"{scene.db.path} does not return what was written", remedy="check the disk")
        connection.execute(f"PRAGMA user_version = {connection.execute('PRAGMA user_version').fetchone()[0]}")
