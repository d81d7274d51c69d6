"""An Airflow DAG: one report by Papermill on demand, and the weekly plan on Monday mornings.

Airflow 3 with the standard and papermill providers. SALESOPS_PROJECT names the checkout; the kernel
`salesops` is its environment's, see docs/scheduling.md.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

PROJECT = Path(os.environ["SALESOPS_PROJECT"])
# Exists for every kind of run; `ds` is missing where a run was started by hand.
RUN_DATE = "{{ dag_run.run_after | ds }}"

with DAG(
    dag_id="salesops_weekly",
    schedule="30 6 * * 1",
    start_date=datetime(2026, 1, 5, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "team": Param("company", type="string"),
        "quarter": Param("2027-Q3", type="string", pattern="^[0-9]{4}-Q[1-4]$"),
    },
) as dag:
    weekly_reports = BashOperator(
        task_id="weekly_reports",
        bash_command=(
            f".venv/bin/salesops run docs/scheduling/weekly.yml --no-progress-bar --run-date '{RUN_DATE}'"
        ),
        cwd=str(PROJECT),
        # Another run publishes there already.
        skip_on_exit_code=4,
        execution_timeout=timedelta(hours=2),
    )
    one_report = PapermillOperator(
        task_id="one_report",
        input_nb=str(PROJECT / "notebooks" / "templates" / "funnel.ipynb"),
        output_nb=str(PROJECT / "reports" / "funnel-by-airflow.ipynb"),
        parameters={
            "team": "{{ params.team }}",
            "quarter": "{{ params.quarter }}",
            "as_of": "",
            "data": "sample",
        },
        kernel_name="salesops",
        language_name="python",
    )
