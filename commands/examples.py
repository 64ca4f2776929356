"""Examples of each command, for `--help` and the reference page: the call without `main.py`, and what it does."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "run": (
        ("run", "the demo day: market, broker and dashboard on this machine"),
        ("run --fresh --seed 7", "another demo day, whatever was left unfinished"),
        ("--config my.yaml run --profile real", "the desk of my.yaml, on its feed and broker"),
    ),
    "status": (("status --watch", "the actor tree, twice a second"),),
    "top": (("top", "the desk on one screen, once a second; it fits 80×24"),),
    "logs": (
        ("logs -f", "what happens, as it happens"),
        ("logs --level warning --topic alarm", "the alarms of the log"),
    ),
    "why": (
        ("why ZH-paper-NR7FHP5PZC7D-e", "how this order came about, and what became of it"),
        ("why 20261120-gexwatch-SPX-094600-GAMMA_FLIP-1", "the same, from the alert on"),
    ),
    "why-not": (
        ("why-not", "the last day: what each lane found, refused and nearly found"),
        ("why-not gexwatch:SPX GAMMA_FLIP 10:12", "why this minute brought no alert, or no trade"),
    ),
    "ask": (
        ('ask "why did we buy the 5990 call?"', "an answer, and the rows and trace records that it stands on"),
        ('ask "how much did we make this week"', "the P&L of the newest week on record"),
    ),
    "mcp": (("--config my.yaml mcp", "what an MCP client starts by itself; not for a terminal"),),
    "kill": (('kill 1 --reason "news at 14:00"', "no entries from now on; what is open stays managed"),),
    "resume": (('resume --reason "news is out"', "entries again"),),
    "flatten": (
        ('flatten --reason "enough"', "close everything at market, and stay closed"),
        ('flatten --direct --reason "supervisor is dead"', "the same, past a supervisor that does not answer"),
    ),
    "promote": (
        ('promote gexwatch GAMMA_FLIP-1 --reason "40 outcomes, +"', "they may trade, if their outcomes carry it"),
        ('promote gexwatch GAMMA_FLIP-1 --reason "a test" --unproven', "whatever they came to; the record says so"),
        ('promote exits ADAPTIVE-1 --reason "34 of 41"', "it closes the positions that are opened from now on"),
    ),
    "report": (
        ("report", "the last session"),
        ("report --last 20", "twenty sessions, a line each, and what they come to"),
        ("report 2026-11-20 --csv", "the trades of a session, for a spreadsheet"),
        ("report week", "the week of the last session, every desk beside the others"),
        ("report month 2026-11-20 --html november.html", "a month as one page with charts"),
    ),
    "tax": (
        ("tax 2026", "the year's forms in short"),
        ("tax 2026 --csv > 2026.csv", "every row of both forms"),
        ("tax 2026 --what-if", "what another reading of the law, or a purchase now, would change"),
    ),
    "notify": (("notify --test", "one line to every target: does it arrive?"),),
    "dashboard": (
        ("dashboard", "the newest session in the browser, after its supervisor has ended"),
        ("dashboard 2026-11-20 --port 5001", "an older one, elsewhere"),
    ),
    "switch": (
        ('switch gexwatch real --reason "30 sessions on paper"', "desk real trades it now, once it is flat at both"),
    ),
    "memberships": (
        (
            '--config my.yaml memberships --reason "state gex of all expiries too"',
            "feed.hubs of the file, at once",
        ),
    ),
    "demote": (('demote gexwatch GAMMA_FLIP-1 --reason "watch it again"', "these alerts are shadows again"),),
    "shadows": (("shadows", "win rates with n and bounds, each kind's versions side by side"),),
    "shell": (("shell", "queries one after the other, with history"),),
    "gaps": (("gaps 2026-11-20", "what is not stored of a day, by hub and cause"),),
    "archive": (
        ("archive --to s3://mine/zerohour", "finished days, read back and compared"),
        ("archive --prune", "and delete here what is archived and past its retention"),
    ),
    "backup": (
        ("backup --new-key key.txt", "once: the identity that opens your backups (keep it elsewhere)"),
        ("backup", "an encrypted backup to every target of the settings"),
    ),
    "restore": (("--data fresh restore --from backups", "the newest backup, at kill level 1"),),
    "compact": (("compact", "seal finished days whole"),),
    "notebooks": (("notebooks gate_tuning", "execute one notebook and render it"),),
    "completion": (("completion bash > ~/.zerohour-completion", "then `source` it in ~/.bashrc"),),
    "readiness": (("readiness", "sessions, trades with bounds, interventions: is this desk ready for live?"),),
    "init": (
        ("init", "a few questions, then zerohour.yaml and .env"),
        ("init --yes --out desk2", "a paper desk with the defaults, in a folder of its own"),
    ),
    "doctor": (("doctor --profile real", "check what a real run needs, and say what to do"),),
    "sim": (
        ("sim gateway --port 4002", "a simulated IB Gateway for any client"),
        ("sim hubs --seed 7", "simulated GEX hubs"),
        ("sim provider --port 8380", "a simulated provider of chains, prices and bars"),
        ("sim tastytrade --port 4004", "a simulated REST and stream broker that takes orders"),
    ),
    "sql": (
        ('sql "SELECT status, count(*) FROM trades GROUP BY ALL"', "one query"),
        ("sql --csv - < query.sql > out.csv", "a query from a file, all rows as CSV"),
    ),
    "export": (("export trades --out trades.csv", "all trades as a file"),),
    "chain": (("chain SPX", "the newest stored chain around the money"),),
    "evaluate": (
        (
            "evaluate GAMMA_FLIP 2026-11-02 2026-11-20",
            "how often the kind was right in these sessions, with n and bounds",
        ),
        ("evaluate strategies/my.py 2026-11-02 2026-11-20 --html my.html", "a kind of your own, before it ever runs"),
    ),
    "new-alert": (("new-alert MY_KIND", "strategies/my_kind.py, which loads, to be changed"),),
    "features": (("features flow", "the features of one group"), ("features --json", "all 73, for machines")),
    "gamma": (("gamma quotes.csv.gz --plot", "walls and zero gamma of a chain in a file, drawn"),),
    "import": (("import days/ --ticker SPX", "every file of a folder"),),
    "backtest": (
        ("--data data/market backtest 2026-11-02 2026-11-20", "what the settings would have done on these days"),
        ("backtest 2026-11-20 2026-11-20 --html day.html", "one day, as a page with charts"),
        ("backtest 2026-11-20 2026-11-20 --parity", "what differs from what ran on that day, and why"),
    ),
    "sweep": (
        ("sweep 2026-11-02 2026-11-20 exits.premium_stop=0.3,0.4,0.5", "three stops on the same days"),
        ("sweep 2026-11-02 2026-11-20 exits.premium_stop=0.3,0.4 fills.crossing=1,1.5 --html sweep.html", "as a page"),
        ("sweep 2026-11-02 2026-11-20 exits.premium_stop=0.3,0.4 --address auto", "the same on a Ray cluster"),
    ),
    "fit-exits": (
        ("fit-exits 2026-09-01 2026-10-30", "learn levels from two months of positions"),
        ("fit-exits 2026-09-01 2026-10-30 --backtest", "learn them from what a backtest of these days held"),
        ("fit-exits 2026-11-02 2026-11-30 --judge EXITS-1", "what they would have been worth in the month after"),
    ),
    "simulate": (
        ("simulate --days 200 --resume days.json", "200 faulty days, interrupted and gone on with at will"),
        ("simulate --facts --days 200 --feedback 0", "what 200 days of a market are like in which nothing pays"),
        ("simulate --record data/month --days 21", "a simulated month, to backtest and sweep"),
    ),
    "replay": (
        ("replay --settings mine.yaml", "the newest day under other settings: where it would have differed"),
        ("replay --settings mine.yaml --what-if", "the whole day with them: trades and sums beside the day as it was"),
    ),
}
