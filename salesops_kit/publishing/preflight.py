"""What stops a run before it begins: a cut-off date, and what stands where it will write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from salesops_kit.errors import InputError, Problem, Problems
from salesops_kit.publishing.paths import CATALOG, RUNS, STAGING, check_inside
from salesops_kit.publishing.plan import Job, placed
from salesops_kit.publishing.plan_file import LoadedPlan
from salesops_kit.publishing.preparer import Preparer
from salesops_kit.publishing.verify import REMOVE


def check_before(root: Path, loaded: LoadedPlan, preparer: Preparer, planned: Sequence[Job]) -> None:
    """Raise :class:`InputError` with all that would stop a run of these jobs into ``root`` later."""
    problems = Problems(_cut_offs(loaded, preparer, planned))
    addresses = [job.address for job in planned]
    pages = {PurePosixPath(CATALOG), *(a.stable for a in addresses), *(a.index for a in addresses)}
    folders = {PurePosixPath(STAGING), PurePosixPath(RUNS)}
    folders |= {address.folder / address.report for address in addresses}
    folders |= {parent for page in pages for parent in page.parents}
    for relative in (*sorted(folders), *sorted(pages)):
        with problems.caught():
            check_inside(root, relative)
            problems += _in_the_way(root / relative, is_page=relative in pages)
    problems.refuse()


def _cut_offs(loaded: LoadedPlan, preparer: Preparer, planned: Sequence[Job]) -> Iterator[Problem]:
    for job in {(job.report, job.quarter, job.params.get("as_of")): job for job in planned}.values():
        try:
            preparer.effective_as_of(dict(job.params))
        except InputError as error:
            yield from (placed(problem, loaded, job.report) for problem in error.problems)


def _in_the_way(path: Path, *, is_page: bool) -> Iterator[Problem]:
    is_fine = path.is_file() if is_page else path.is_dir()
    if path.exists() and not is_fine:
        kinds = ("something else", "a file") if is_page else ("a file", "a folder")
        what = f"{kinds[0]} stands where {kinds[1]} is needed"
        yield Problem(what, file=str(path), next_step=REMOVE)
