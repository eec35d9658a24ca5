"""Every page of the portal in every state: who opens it, what its picture is called, and its address.

Words in braces are ids that `site.py` knows.
"""

OF_NOBODY = {"policy-signed-out": "policy", "agreement-signed-out": "agreement"}
# A month of servers, a team with parts, a request returned: the portal in use.
OF_A_BUSY_SITE = {
    "astronomer": {
        "my-allocations": "",
        "account": "accounts/wide-field-demo",
        "requests-waiting": "requests",
        "policy": "policy",
        "agreement": "agreement",
        "preferences": "preferences",
        "teams": "teams",
        "team": "teams/wide-field-demo",
        "team-member": "teams/wide-field-demo/members/teammate",
        "team-group": "teams/wide-field-demo/groups/{group}",
        "team-leave": "teams/wide-field-demo/leave",
        "not-found": "nowhere",
        "forbidden": "admin/people",
    },
    "newcomer": {"my-allocations-empty": "", "requests-empty": "requests", "teams-invited": "teams"},
    "reviewer": {"panel": "panel", "panel-case": "panel/{case}"},
    "colleague": {"panel-reviewed": "panel", "panel-case-reviewed": "panel/{case}"},
    "duo": {"requests-offered": "requests"},
    # Names, titles and amounts as long and as large as they may be.
    "long": {
        "my-allocations-long": "",
        "account-long": "accounts/{long_team}",
        "requests-long": "requests",
        "teams-long": "teams",
        "team-long": "teams/{long_team}",
        "team-member-leave-long": "teams/{long_team}/leave",
    },
    "admin": {
        "no-usage": "",
        "teams-empty": "teams",
        "ask": "requests",
        "admin-requests": "admin/requests",
        "admin-request": "admin/requests/{request}",
        "admin-request-long": "admin/requests/{long_request}",
        "admin-panel": "admin/panel",
        "admin-round": "admin/panel/rounds/{round}",
        "admin-request-panel": "admin/requests/{case}",
        "admin-request-offered": "admin/requests/{offered}",
        "admin-people": "admin/people",
        "admin-enter": "admin/servers/teammate/mosaics/enter",
        "admin-entered": "admin/servers/astronomer/-/enter",
        "admin-person": "admin/people/teammate",
        "admin-person-long": "admin/people/{long_person}",
        "admin-person-suspended": "admin/people/suspended",
        "admin-maintenance": "admin/maintenance",
        "admin-outbox": "admin/outbox?show=all",
        "admin-outbox-given-up": "admin/outbox",
        "admin-webhooks": "admin/webhooks",
        "admin-people-none": "admin/people?q=nobody-of-this-name",
        "admin-accounts": "admin/accounts",
        "admin-servers": "admin/servers",
        "admin-pool": "admin/pool",
        "admin-forecast": "admin/forecast",
        "admin-identity": "admin/people/teammate/identity",
        "admin-identity-erased": "admin/people/{erased}/identity",
        "admin-log": "admin/log",
        "admin-log-none": "admin/log?q=no-such-words",
        "admin-log-wrong": "admin/log?since=yesterday",
        "admin-what-if": "admin/what-if",
        "admin-question": "admin/what-if/{question}",
        "admin-announcements": "admin/announcements",
        "admin-events": "admin/events",
        "admin-event": "admin/events/{event}",
        "join-event": "events/join",
        "admin-stop": "admin/servers/teammate/mosaics/stop",
    },
}
# A Nexus on its first day, with launches held.
OF_A_BARE_SITE = {
    "reviewer": {
        "panel-empty": "panel",
        "my-allocations-held": "",
        "account-empty": "accounts/reviewer",
    },
    "admin": {
        "admin-requests-empty": "admin/requests",
        "admin-panel-empty": "admin/panel",
        "admin-round-empty": "admin/panel/rounds/{round}",
        "admin-servers-empty": "admin/servers",
        "admin-accounts-none": "admin/accounts?q=nobody-of-this-name",
        "admin-forecast-empty": "admin/forecast",
        "admin-pool-empty": "admin/pool",
        "admin-what-if-empty": "admin/what-if",
        "admin-question-running": "admin/what-if/{running}",
        "admin-question-failed": "admin/what-if/{failed}",
        "admin-announcements-empty": "admin/announcements",
        "admin-events-empty": "admin/events",
        "admin-outbox-empty": "admin/outbox",
        "admin-webhooks-empty": "admin/webhooks",
        "admin-maintenance-held": "admin/maintenance",
    },
}
# What runs code of ours and shows nothing.
NO_PAGES = {
    "/sign-in": "leads to the hub",
    "/oauth_callback": "leads to the page that was wanted",
    "/health": "is for machines",
    "/admin": "leads to the requests",
}
FILES = (".csv", ".jsonl")
