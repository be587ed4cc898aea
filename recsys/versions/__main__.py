"""Versions of bundles: `recsys versions add RUN --alias champion`, `list`, `show`, `promote`, and so on.

VERSION is an alias, or the first digits of a version. Times are in UTC: "2026-11-24 09:00".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.bundle import BundleError
from recsys.database.flag import add_database_flag, open_database
from recsys.progress import printable, tolerate_closed_output
from recsys.versions.account import account
from recsys.versions.flags import add_by_flag, add_store_flag
from recsys.versions.moments import past_moment, shown_moment
from recsys.versions.version import CHAMPION, SHOWN, VersionError

if TYPE_CHECKING:
    from recsys.versions import Version, Versions


def main(argv: Sequence[str] | None = None) -> None:
    tolerate_closed_output()
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        database = open_database(arguments.database, create=arguments.command == "add")
        from recsys.versions import open_versions

        sign_with = getattr(arguments, "sign", None)
        arguments.run_command(open_versions(database, arguments.store, sign_with=sign_with), arguments)
    except (ValueError, OSError) as error:  # of databases, stores, versions and bundles, too
        sys.exit(f"error: {printable(str(error))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recsys versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str, *positional: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        for metavar in positional:
            one.add_argument(metavar.lower(), metavar=metavar)
        add_database_flag(one)
        add_store_flag(one)
        one.set_defaults(run_command=run)
        return one

    add = command("add", _add, "make a version of a finished run", "RUN")
    add.add_argument("--alias", help=f"let this alias name it, such as {CHAMPION}")
    _add_change_flags(add)
    shown = command("list", _list, "print the versions, the newest first")
    shown.add_argument("--all", action="store_true", help="also those whose files were removed")
    command("show", _show, "print what a version was made of", "VERSION")
    promote = command("promote", _promote, "let an alias name a version", "VERSION")
    rollback = command("rollback", _rollback, "let an alias name the version that it named before")
    for one in (promote, rollback):
        _add_alias_flag(one)
        _add_change_flags(one)
    command("diff", _diff, "print what two versions differ in", "ONE", "OTHER")
    gc = command("gc", _gc, "remove the versions that no alias and no parent needs")
    gc.add_argument(
        "--days", type=float, default=30.0, help="for which a version is kept that an alias has named (default 30)"
    )
    gc.add_argument("--dry-run", action="store_true", help="only print which")
    at = command("at", _at, "print the version that an alias named at a time", "TIME")
    served = command("served", _served, "print what somebody got at a time, computed again")
    served.add_argument("--user", required=True, metavar="ID")
    served.add_argument("--at", required=True, metavar="TIME")
    served.add_argument("--item", metavar="ID", help="the rating predicted of this item, instead of the best items")
    served.add_argument("-k", type=int, default=10, help="how many of the best items (default 10)")
    for one in (at, served):
        _add_alias_flag(one)
    verify = command("verify", _verify, "check that the history of the aliases was not altered")
    verify.add_argument("--head", metavar="HASH", help="that an earlier check has printed, which must still be there")
    verify.add_argument("--files", action="store_true", help="also every file of every version in the store")
    return parser


def _add_alias_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alias", default=CHAMPION, help=f"default {CHAMPION}")


def _add_change_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, which stays in the history for ever")
    add_by_flag(parser)
    parser.add_argument(
        "--other-data", action="store_true", help="also if it has less than half of the users or items in service"
    )
    parser.add_argument(
        "--sign", type=Path, metavar="KEY.pem", help="sign it with this Ed25519 private key, for --verify-key"
    )


def _add(versions: Versions, arguments: argparse.Namespace) -> None:
    from recsys.versions.aliases import check_alias
    from recsys.versions.runs import add_run

    if arguments.alias is not None:
        check_alias(arguments.alias)
    version = add_run(versions, Path(arguments.run))
    print(f"version {version.short} in {versions.store}")
    if arguments.alias is not None:
        _change(versions, arguments, version, arguments.why or f"add {Path(arguments.run).name}")


def _promote(versions: Versions, arguments: argparse.Namespace) -> None:
    _change(versions, arguments, versions.find(arguments.version), arguments.why or "promote")


def _rollback(versions: Versions, arguments: argparse.Namespace) -> None:
    from recsys.versions.rollback import WHY, before_current

    rows = {one.version: one for one in versions.registry.all()}
    before = before_current(versions.aliases.history(arguments.alias), rows)
    if before is None:
        raise ValueError(f"alias {arguments.alias} names nothing that it could go back from")
    why = f"{WHY}: {arguments.why}" if arguments.why else WHY
    _change(versions, arguments, rows[before], why)


def _change(versions: Versions, arguments: argparse.Namespace, version: Version, why: str) -> None:
    """Let an alias name a version, if services may swap to it."""
    current = versions.aliases.current(arguments.alias)
    if current not in (None, version.version):
        from serve.models.replacement import check_replacement

        former = None
        new = versions.load(version)
        with contextlib.suppress(BundleError, VersionError):  # the former is gone: any may follow
            former = versions.champion(arguments.alias).bundle
        if former is not None:
            check_replacement(former, new, version.short, other_data=arguments.other_data)
    elif current is None:
        versions.load(version)
    if arguments.sign is not None:
        versions.sign(version)
    change = versions.promote(
        arguments.alias,
        version.version,
        arguments.by or account(),
        why,
        expected=current,
        other_data=arguments.other_data,
    )
    print(f"{change.alias} names {version.short} since {shown_moment(change.changed)}")


def _list(versions: Versions, arguments: argparse.Namespace) -> None:
    names: dict[str, list[str]] = {}
    for alias, version in versions.aliases.all().items():
        names.setdefault(version, []).append(alias)
    print(f"{'version':12}  {'created':19}  {'made by':7}  {'parent':12}  {'cut':>9}  {'test/rmse':>9}  aliases")
    for one in versions.registry.all():
        if one.withdrawn is not None and not arguments.all:
            continue
        rmse = one.metrics.get("test/rmse")
        shown = f"{rmse:9.4f}" if isinstance(rmse, int | float) else f"{'':9}"
        aliases = " ".join(sorted(names.get(one.version, []))) or (f"({one.reason})" if one.withdrawn else "")
        parent = (one.parent or "")[:SHOWN]
        made = f"{shown_moment(one.created)}  {one.made_by:7}  {parent:12}"
        print(f"{one.short:12}  {made}  {one.cut:9}  {shown}  {aliases}".rstrip())


def _show(versions: Versions, arguments: argparse.Namespace) -> None:
    version = versions.find(arguments.version)
    about = vars(version) | {
        "created": shown_moment(version.created),
        "withdrawn": None if version.withdrawn is None else shown_moment(version.withdrawn),
        "aliases": sorted(alias for alias, named in versions.aliases.all().items() if named == version.version),
    }
    print(json.dumps(about, indent=2, default=str))


def _diff(versions: Versions, arguments: argparse.Namespace) -> None:
    from recsys.versions.difference import PAIRS, difference

    one, other = (versions.find(name) for name in (arguments.one, arguments.other))
    found = difference((one, versions.load(one)), (other, versions.load(other)))
    width = max((len(name) for name, _, _ in found.rows), default=0)
    print(f"{'':{width}}  {one.short:20}  {other.short}".rstrip())
    for name, a, b in found.rows:
        print(printable(f"{name:{width}}  {_text(a):20}  {_text(b)}"))
    if found.rms is not None:
        print(f"RMS difference of {PAIRS:,} predictions: {found.rms:.4f} stars")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _gc(versions: Versions, arguments: argparse.Namespace) -> None:
    from recsys.versions.retention import collect

    if not arguments.days >= 0:
        raise ValueError(f"days must be >= 0, got {arguments.days:g}")
    removed = collect(versions, arguments.days, dry_run=arguments.dry_run)
    for version in removed:
        print(version[:SHOWN])
    print(f"{len(removed)} versions {'would be ' if arguments.dry_run else ''}removed from {versions.store}")


def _at(versions: Versions, arguments: argparse.Namespace) -> None:
    change = versions.aliases.at(arguments.alias, past_moment(arguments.time))
    if change is None:
        raise ValueError(f"alias {arguments.alias} named nothing at {arguments.time}")
    since = f"since {shown_moment(change.changed)}, by {change.changed_by}: {change.reason}"
    print(printable(f"{change.version} ({since})"))


def _served(versions: Versions, arguments: argparse.Namespace) -> None:
    try:
        from serve.served import Past
    except ModuleNotFoundError as error:
        raise ValueError(f"served needs {error.name}: pip install 'recsys-lightning[serve]'") from None
    if arguments.k < 1:
        raise ValueError(f"k must be >= 1, got {arguments.k}")
    past = Past(versions, arguments.alias)
    found = past.served(arguments.user, past_moment(arguments.at), k=arguments.k, item_id=arguments.item)
    answer = {name: value for name, value in vars(found).items() if value is not None}
    print(json.dumps(answer, indent=2))


def _verify(versions: Versions, arguments: argparse.Namespace) -> None:
    last = versions.aliases.verify(arguments.head)
    print("no alias was ever set" if last is None else f"{last.number} changes of aliases, head {last.hash}")
    if arguments.files:
        kept = [one for one in versions.registry.all() if one.withdrawn is None]
        for one in kept:
            versions.load(one)
        print(f"{len(kept)} versions in {versions.store} are whole")


if __name__ == "__main__":
    main()
