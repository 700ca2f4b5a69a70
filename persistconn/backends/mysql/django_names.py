"""What we use of Django without an error if it is gone; :mod:`persistconn.private_names` checks that it is there.

These are methods that we override, and what a job sets or reads on Django's wrapper. Without ``needs_rollback`` a job that was
marked for rollback would be committed; without ``run_on_commit`` its callbacks would be lost.
"""

from __future__ import annotations

from persistconn.private_names import Names

NAMES: Names = {
    "db.backends.base.base.BaseDatabaseWrapper": "_close _set_autocommit atomic_blocks closed_in_transaction"
    " close_if_health_check_failed close_if_unusable_or_obsolete commit_on_exit errors_occurred health_check_done"
    " inc_thread_sharing init_connection_state is_usable needs_rollback run_on_commit savepoint_ids",
    "db.backends.mysql.creation.DatabaseCreation": "_clone_test_db _create_test_db _destroy_test_db",
    "db.transaction.Atomic": "_from_testcase",
}
