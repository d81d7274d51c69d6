"""A finished bundle made public in one step, and a stable page marked when a later run failed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from salesops_kit.errors import InputError
from salesops_kit.language import _, use_locale
from salesops_kit.mime import SENTINEL
from salesops_kit.publishing import files
from salesops_kit.publishing.gates import notes
from salesops_kit.publishing.lean_imports import leave_out
from salesops_kit.publishing.ledger import MANIFEST_FILE, Entry, published_entry
from salesops_kit.publishing.manifest import Manifest, PublishedFile
from salesops_kit.publishing.outputs import typed
from salesops_kit.publishing.page_check import page_problems
from salesops_kit.publishing.paths import Address, check_inside, relative_link
from salesops_kit.publishing.render import banner, page_facts, render
from salesops_kit.publishing.worker import BUNDLE, NOTEBOOK_FILE, STABLE, WORKBOOK_FILE, page_links


def commit(root: Path, address: Address, staged: Path, manifest: Manifest, title: str) -> Entry:
    """Publish ``staged/bundle`` and ``staged/stable.html`` at an address.

    The bundle is moved to its place, whole and synced; then one ``os.replace`` of the stable page is
    the moment of publication. When that fails the bundle is taken away again and the old page stands.
    """
    private = address.is_private
    page = staged / STABLE
    unknown = _paths(staged / BUNDLE) - {item.path for item in manifest.files}
    if unknown:
        raise InputError(f"no manifest knows {sorted(unknown)[0]} among the files to be published")
    stable = PublishedFile(
        path=f"../../{address.report}.html", bytes=page.stat().st_size, sha256=files.digest(page)
    )
    manifest = manifest.model_copy(update={"files": [*manifest.files, stable]})
    content = manifest.to_json()
    files.write_file(staged / BUNDLE / MANIFEST_FILE, content, private=private)
    target = root.joinpath(address.bundle(manifest.run))
    files.make_folder(root, address.bundle(manifest.run).parent, private=private)
    check_inside(root, address.bundle(manifest.run))
    check_inside(root, address.stable)
    try:
        files.move_folder(staged / BUNDLE, target)
        os.replace(page, root / address.stable)  # noqa: PTH105 - the commit point, by its usual name
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    with contextlib.suppress(
        OSError
    ):  # The page is out; a folder that cannot be synced does not unpublish it.
        files.sync_folder(root.joinpath(address.folder))
    return published_entry(root, target, manifest, title, content)


def _paths(folder: Path) -> set[str]:
    """All that is in a folder but folders, as paths from it."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}


def stale_page(root: Path, good: Entry, failed: Manifest, allowed_links: Sequence[str]) -> bytes:
    """The last good report written again, with a banner that says which run failed and why.

    Raises ``ValueError`` when the page that comes out may not be published, ``OSError`` when the
    bundle cannot be read.
    """
    leave_out()
    import nbformat

    assert good.bundle is not None
    bundle = PurePosixPath(good.bundle)
    notebook = nbformat.reads((root / bundle / NOTEBOOK_FILE).read_text(encoding="utf-8"), as_version=4)
    sentinel = str(next(iter(typed(notebook, SENTINEL)), {}).get("sentinel", ""))
    names = [item.path for item in good.manifest.files]
    with use_locale(good.manifest.locale):
        prefix = relative_link(bundle, good.address.stable) + "/"
        links = page_links(prefix, has_workbook=WORKBOOK_FILE in names)
        text = _("This is the report of run {good}. The later run {failed} failed: {message}").format(
            good=good.manifest.run,
            failed=failed.run,
            message=failed.error.message if failed.error else failed.status,
        )
    facts = page_facts(good.manifest, good.title, sentinel)
    shown = [*banner("stale", text), *banner("note", " ".join(notes(good.manifest.gates)))]
    facts = {**facts, "links": links, "banner": shown}
    page = render(notebook, facts, locale=good.manifest.locale)
    wrong = page_problems(page, sentinel, allowed_links=allowed_links) if sentinel else ["no sentinel"]
    if wrong:
        raise ValueError("; ".join(wrong))
    return page.encode("utf-8")


def stable_file(address: Address, content: bytes) -> PublishedFile:
    """The record of a stable page's content."""
    return PublishedFile(
        path=address.stable.as_posix(), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
