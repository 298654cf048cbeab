"""Celery's settings, one by one: the setting of ours that it is, or why there is none.

Four fates. MAPPED is a setting of ours under another name. HOLDS is a promise that amqtask keeps anyway: the values
that ask for it are accepted with a note, any other is refused. NEVER means nothing on RabbitMQ or here. LATER is a
feature that this version does not have. What is refused is refused with its reason; nothing is dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Convert: TypeAlias = Callable[[object], object]


def same(value: object) -> object:
    """The value as it is."""
    return value


def _ack(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("True or False is needed")
    return "late" if value else "early"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


# Celery's name: (ours, how the value is turned)
MAPPED: Mapping[str, tuple[str, Convert]] = {
    "accept_content": ("tasks.accept_content", same),
    "broker_connection_timeout": ("broker.connect_timeout_s", same),
    "broker_heartbeat": ("broker.heartbeat_s", same),
    "broker_url": ("broker.url", same),
    "imports": ("tasks.imports", same),
    "include": ("tasks.imports", same),
    "task_acks_late": ("tasks.ack", _ack),
    "task_compression": ("tasks.compression", same),
    "task_default_priority": ("tasks.priority", same),
    "task_default_queue": ("tasks.default_queue", same),
    "task_default_routing_key": ("tasks.default_routing_key", same),
    "task_ignore_result": ("tasks.ignore_result", same),
    "task_publish_retry": ("publish.retry", same),
    "task_serializer": ("tasks.serializer", same),
    "worker_concurrency": ("worker.concurrency", same),
    "worker_log_file": ("log.file", same),  # was a setting until Celery 3, as CELERYD_LOG_FILE
    "worker_log_level": ("log.level", _lower),  # likewise
}

# What becomes more than one setting of ours, or needs a look at others; celery_special has a function for each.
SPECIAL: Mapping[str, str] = {
    "broker_host": "broker.url",
    "broker_password": "broker.url",
    "broker_port": "broker.url",
    "broker_transport_options": "(each option by itself)",
    "broker_user": "broker.url",
    "broker_vhost": "broker.url",
    "task_default_exchange": "tasks.default_exchange",
    "task_default_exchange_type": "exchanges.NAME.type",
    "task_publish_retry_policy": "publish.retry_policy",
    "task_queue_max_priority": "queues.NAME.max_priority",
    "task_queues": "queues and exchanges",
    "task_routes": "routes",
}

# Celery's name: (values that ask for what holds anyway, what holds)
HOLDS: Mapping[str, tuple[tuple[object, ...], str]] = {
    "broker_channel_error_retry": ((True, False), "a failed channel is always replaced"),
    "broker_connection_max_retries": ((None, 0), "a lost broker is looked for until it is back"),
    "broker_connection_retry": ((True,), "a lost connection is always rebuilt"),
    "broker_connection_retry_on_startup": ((True, None), "a node waits for its broker when it starts, too"),
    "broker_failover_strategy": ((None, "round-robin"), "the hosts of broker.url are tried in turn"),
    "broker_login_method": ((None, "PLAIN"), "user and password are sent as PLAIN"),
    "broker_transport": (
        (None, "", "amqp", "amqps", "pyamqp", "librabbitmq"),
        "amqtask speaks AMQP 0-9-1 to RabbitMQ, and nothing else",
    ),
    "enable_utc": ((True,), "times travel in UTC"),
    "task_acks_on_failure": ((None, True), "a task that failed is settled; it does not run again unless it retries"),
    "task_acks_on_failure_or_timeout": (
        (True,),
        "a task that failed is settled; it does not run again unless it retries",
    ),
    "task_acks_on_timeout": ((None, True), "a task that was cut is settled; it does not run again unless it retries"),
    "task_create_missing_queue_exchange_type": (
        (None, "direct"),
        "a queue that nobody declares is reached by its name",
    ),
    "task_create_missing_queue_type": (("classic",), "a queue that nobody declares is classic; declare others"),
    "task_create_missing_queues": (
        (True, False),
        "undeclared queues exist as long as none is declared; once one is, only declared ones do",
    ),
    "task_default_delivery_mode": ((2, "persistent"), "every message is persistent"),
    "task_default_queue_type": (("classic",), "a queue that nobody declares is classic; declare others"),
    "task_protocol": ((2,), "protocol 2 is sent; protocol 1 is understood when it arrives"),
    "task_reject_on_worker_lost": (
        (None, True),
        "a task whose process died runs again, worker.max_crashes times at most",
    ),
    "task_retry_on_worker_lost": (
        (None, True),
        "a task whose process died runs again, worker.max_crashes times at most",
    ),
    "timezone": ((None, "UTC", "utc"), "times are in UTC; other zones come with schedules, in a later version"),
    "worker_cancel_long_running_tasks_on_connection_loss": ((False,), "tasks outlive a lost connection"),
    "worker_detect_quorum_queues": ((True, False), "prefetch suits quorum queues always"),
    "worker_disable_prefetch": (
        (True, False),
        "prefetch adapts: a pool of long tasks holds nothing that it does not run",
    ),
    "worker_disable_rate_limits": ((True,), "this version has no rate limits"),
    "worker_enable_prefetch_count_reduction": ((True, False), "prefetch adapts by itself"),
    "worker_hijack_root_logger": ((False,), "nobody's root logger is taken over"),
    "worker_pool": (("prefork", "processes"), "pools are prefork in this version"),
    "worker_pool_start_method": (("fork",), "executors are forked by a template that runs no task itself"),
    "worker_prefetch_multiplier": (
        tuple(range(1, 1001)),
        "prefetch adapts: long tasks hold nothing extra, short ones milliseconds' worth; pools.NAME.prefetch fixes it",
    ),
    "worker_soft_shutdown_timeout": ((0, 0.0), "running tasks get worker.drain_s seconds to finish"),
}

NEVER: Mapping[str, str] = {
    "broker_heartbeat_checkrate": "the client checks heartbeats in time by itself; set broker.heartbeat_s",
    "broker_pool_acquire_timeout": "there is no pool of connections to wait for; publish.deadline_s bounds a publish",
    "broker_pool_limit": "there is no pool of connections: a program publishes over one, from all its threads",
    "broker_read_url": "one address serves both ways; set broker.url",
    "broker_use_ssl": "TLS is chosen by the address: write amqps:// in broker.url",
    "broker_write_url": "one address serves both ways; set broker.url",
    "task_repr_maxlevels": "arguments are cut by their length",
    "worker_agent": "the parts of a node are not replaceable",
    "worker_consumer": "the parts of a node are not replaceable",
    "worker_enable_soft_shutdown_on_idle": "an idle node has nothing to wait for; worker.drain_s is for running tasks",
    "worker_eta_task_limit": "no task waits in a worker for its eta",
    "worker_force_execv": "executors are forked by a template process that runs no task and no thread, so the "
    "deadlocks that it was meant against cannot happen",
    "worker_log_color": "log.format = 'console' colours for a terminal by itself",
    "worker_log_datefmt": "log lines are events with a time in ISO 8601; see log.format",
    "worker_log_format": "log lines are events, not formatted records; see log.format",
    "worker_lost_wait": "why a process died is known at once",
    "worker_pool_putlocks": "an executor is handed a task only when it can take it",
    "worker_proc_alive_timeout": "an executor reports when it is ready; worker.boot_timeout_s bounds the app's import",
    "worker_task_log_datefmt": "log lines are events with a time in ISO 8601; see log.format",
    "worker_task_log_format": "log lines are events, not formatted records; see log.format",
    "worker_timer": "the parts of a node are not replaceable",
    "worker_timer_precision": "a node's timers fire when they are due",
    # Gone from Celery itself, still found in old projects:
    "chord_propagates": "Celery 4 dropped it: a failed part always fails its chord",
    "send_task_error_emails": "Celery 4 dropped it",
    "task_error_whitelist": "Celery 4 dropped it with error e-mails",
    "broker_insist": "AMQP 0-9-1 has no such field",
}

_LATER: Mapping[str, str] = {
    "results are not stored": """
        result_accept_content result_backend result_backend_always_retry result_backend_base_sleep_between_retries_ms
        result_backend_max_retries result_backend_max_sleep_between_retries_ms result_backend_transport_options
        result_cache_max result_chord_expires result_chord_join_timeout result_chord_retry_interval result_compression
        result_exchange result_exchange_type result_expires result_extended result_failure_expires result_persistent
        result_serializer task_remote_tracebacks task_store_errors_even_if_ignored task_track_started
        cache_backend cache_backend_options database_create_tables_at_setup database_engine_callback
        database_engine_options database_short_lived_sessions database_table_names database_table_schemas database_url
        redis_backend_use_ssl redis_db redis_host redis_max_connections redis_password redis_port
        redis_retry_on_timeout redis_socket_connect_timeout redis_socket_keepalive redis_socket_timeout redis_username
        cassandra_auth_kwargs cassandra_auth_provider cassandra_bundle_path cassandra_entry_ttl cassandra_keyspace
        cassandra_options cassandra_port cassandra_read_consistency cassandra_servers cassandra_table
        cassandra_write_consistency s3_access_key_id s3_base_path s3_bucket s3_endpoint_url s3_region
        s3_secret_access_key azureblockblob_base_path azureblockblob_connection_timeout azureblockblob_container_name
        azureblockblob_read_timeout azureblockblob_retry_increment_base azureblockblob_retry_initial_backoff_sec
        azureblockblob_retry_max_attempts gcs_base_path gcs_bucket gcs_project gcs_ttl couchbase_backend_settings
        arangodb_backend_settings mongodb_backend_settings cosmosdbsql_collection_name
        cosmosdbsql_consistency_level cosmosdbsql_database_name cosmosdbsql_max_retry_attempts
        cosmosdbsql_max_retry_wait_time elasticsearch_max_retries elasticsearch_retry_on_timeout
        elasticsearch_save_meta_as_text elasticsearch_timeout""",
    "schedules are not run": """
        beat_cron_starting_deadline beat_enable_remote_control beat_max_loop_interval beat_remote_control_max_tick_age
        beat_schedule beat_schedule_filename beat_scheduler beat_sync_every""",
    "nodes take no remote commands": """
        control_exchange control_queue_durable control_queue_exclusive control_queue_expires control_queue_ttl
        worker_enable_remote_control worker_pool_restarts""",
    "nodes send no events": """
        event_exchange event_queue_durable event_queue_exclusive event_queue_expires event_queue_prefix
        event_queue_ttl event_serializer task_send_sent_event worker_send_task_events""",
    "tasks have no time limits": "task_soft_time_limit task_time_limit",
    "tasks have no rate limits": "task_default_rate_limit",
    "pools do not grow and shrink by load": "worker_autoscaler",
    "executors are not recycled": "worker_max_memory_per_child worker_max_tasks_per_child",
    "messages are not signed": """
        security_cert_store security_certificate security_digest security_key security_key_password""",
    "nodes have no queues of their own": "worker_direct",
    "tasks do not hand their priority down": "task_inherit_parent_priority",
    "options of tasks are not set from outside": "task_annotations",
    "workflows are not run": "task_allow_error_cb_on_chord_header",
    "finished tasks are not remembered": "worker_deduplicate_successful_tasks",
    "tasks are not revoked": "worker_state_db",
    "what tasks print is not turned into log lines": "worker_redirect_stdouts worker_redirect_stdouts_level",
    "tasks are not run in place of being sent": "task_always_eager task_eager_propagates task_store_eager_result",
    "delayed tasks are not set up": "broker_native_delayed_delivery_queue_type",
}

# Celery's name: what this version does not do
LATER: Mapping[str, str] = {name: what for what, names in _LATER.items() for name in names.split()}

# Names that circulate as Celery settings and are none: Celery takes them and does nothing (seen with 5.7).
INVENTED: Mapping[str, str] = {
    "task_max_retries": "this version has no retries yet; they come as options of tasks",
    "task_default_retry_delay": "this version has no retries yet; they come as options of tasks",
    "task_retry_backoff": "this version has no retries yet; they come as options of tasks",
    "task_autoretry_for": "this version has no retries yet; they come as options of tasks",
    "worker_queues": "a node's queues are pools.NAME.queues, or worker.queues for one pool",
    "worker_loglevel": "set log.level",
    "worker_logfile": "set log.file",
}

# Old upper-case names that no rule makes from the new ones.
OLD: Mapping[str, str] = {
    "BROKER_BACKEND": "broker_transport",
    "CARROT_BACKEND": "broker_transport",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_WORKER_LOST_WAIT": "worker_lost_wait",
    "CELERY_AMQP_TASK_RESULT_EXPIRES": "result_expires",
    "CELERY_BACKEND": "result_backend",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "task_eager_propagates",
    "CELERY_MAX_CACHED_RESULTS": "result_cache_max",
    "CELERY_MESSAGE_COMPRESSION": "task_compression",
    "CELERY_RESULT_DBURI": "database_url",
    "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS": "database_short_lived_sessions",
    "CELERY_RESULT_DB_TABLENAMES": "database_table_names",
    "CELERY_RESULT_ENGINE_OPTIONS": "database_engine_options",
    "CELERY_SEND_EVENTS": "worker_send_task_events",
    "CELERY_SEND_TASK_SENT_EVENT": "task_send_sent_event",
    "CELERY_TASK_ERROR_WHITELIST": "task_error_whitelist",
    "CELERY_TASK_RESULT_EXPIRES": "result_expires",
}
