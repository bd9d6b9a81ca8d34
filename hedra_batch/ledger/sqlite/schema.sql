-- The ledger's schema, version 5 (PRAGMA user_version). All instants are UTC, ISO 8601 with a Z.
-- Only the view `results` is for others to rely on; all else may change with a version.

CREATE TABLE info (
    key TEXT PRIMARY KEY,          -- manifest, batch_uuid, run_counter; lost_attempts and lost_mark: see `Loss`
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE states (              -- loaded from the program's tables at each opening
    state TEXT PRIMARY KEY,
    public TEXT NOT NULL,          -- new running unknown done failed held
    liability TEXT NOT NULL        -- charged: the server may have charged it; reserved: it is about to be sent; none
) STRICT, WITHOUT ROWID;

CREATE TABLE transitions (         -- loaded from the program's table at each opening
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,    -- counts up; the identity file holds the last one too
    started_at TEXT NOT NULL,
    ended_at TEXT,                 -- empty after a crash
    exit_code INTEGER,             -- empty after a crash
    version TEXT NOT NULL          -- of the program
) STRICT;

CREATE TABLE deduplication (
    base_url TEXT NOT NULL,
    kind TEXT NOT NULL,            -- of request: what a server shows of one tells nothing of another
    verdict TEXT NOT NULL,         -- unproven, proven or none: does it recognise a repeated request by its key?
    PRIMARY KEY (base_url, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
    upload_key INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,            -- of file
    sha256 TEXT NOT NULL,          -- of the file's bytes, in hex
    handle TEXT NOT NULL,          -- what requests name it by
    name TEXT NOT NULL,            -- the file name it was uploaded under
    uploaded_at TEXT NOT NULL,
    expires_at TEXT,               -- empty where the server keeps it
    gone_at TEXT                   -- when the server did not know it any more, or another upload took its place
) STRICT;
CREATE UNIQUE INDEX uploads_one_alive ON uploads (kind, sha256) WHERE gone_at IS NULL;

CREATE TABLE models (              -- every name that a list of models has had for one, the last meaning of each
    spelling TEXT PRIMARY KEY,     -- slug, id or name, without regard to case
    slug TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    attempt_key INTEGER PRIMARY KEY,
    edition TEXT NOT NULL,         -- '' is the default edition
    job_id TEXT NOT NULL,          -- the job that it counts for
    bought_as TEXT NOT NULL,       -- the job id that it was bought under
    number INTEGER NOT NULL,       -- from 1, counts up for each (edition, bought_as), never used twice
    latest INTEGER NOT NULL,       -- 1 for the attempt that its job stands by, else 0
    state TEXT NOT NULL REFERENCES states (state),
    digest TEXT NOT NULL,          -- of `fields`
    sent_digest TEXT NOT NULL,     -- of `fields` with the model as it was named to the server; until then as `digest`
    kept_digest TEXT,              -- of other inputs that a person has said this video counts for
    fields TEXT NOT NULL,          -- JSON: the canonical inputs, images by content
    prompt_id TEXT NOT NULL,
    image_id TEXT NOT NULL,
    image TEXT,                    -- as the manifest writes it
    wanted_output TEXT NOT NULL,   -- relative to the run folder, as the manifest wants it
    request_key TEXT,              -- ours, from RESERVED on
    remote_id TEXT,                -- the server's, from ACCEPTED on
    body BLOB,                     -- the exact bytes of the request
    sends INTEGER NOT NULL DEFAULT 0,         -- POSTs begun with this key
    unknown_sends INTEGER NOT NULL DEFAULT 0, -- those of them whose outcome could not be told
    resends INTEGER NOT NULL DEFAULT 0,       -- sends again after a lost one, but for those surely not accepted
    unknown_at TEXT,               -- since when the outcome is unknown
    unknown_mark TEXT,             -- the same moment: start of the machine, and seconds since then
    absent_at TEXT,                -- when reading last found it absent
    submitted_at TEXT,             -- begin of the last send
    accepted_at TEXT,
    accepted_mark TEXT,            -- the same moment, as unknown_mark is written
    missing_at TEXT,               -- since when the server denies what it had accepted or completed; empty while not
    finished_at TEXT,              -- entry into DONE, REFUSED, FAILED or ABANDONED
    changed_at TEXT NOT NULL,      -- last change of state
    asset_id TEXT,                 -- of the video
    eta_seconds REAL,              -- the server's guess at acceptance, else the model's usual time
    output TEXT,                   -- relative to the run folder; claimed at READY, for ever
    moving_to TEXT,                -- the name that its file is given now, claimed like `output`
    is_staged INTEGER NOT NULL DEFAULT 0,     -- 1 once all files that are renamed together left their old names
    part_tag TEXT,                 -- tells the version of the file of which a part was fetched, as the server names it
    sha256 TEXT,                   -- of the video's bytes, in hex
    bytes INTEGER,                 -- of the video
    estimated INTEGER,             -- by the price list at RESERVED; empty where it could not be known
    charged INTEGER,               -- as the server reports it; empty where it did not
    refunded INTEGER,              -- how much less a later read reports; `charged` stays
    reread_at TEXT,                -- when a failed one was read once more for that
    unit TEXT,                     -- of all three, the smallest that the API counts in; empty where none is known
    error_code TEXT,
    error TEXT,
    request_id TEXT,               -- the server's x-request-id of the last answer to a send
    price INTEGER AS (             -- what it costs at most: as charged or as estimated, whichever is more
        max(coalesce(charged, estimated), coalesce(estimated, charged))
    ),
    month TEXT AS (                -- UTC, in which it counts towards a budget
        substr(coalesce(submitted_at, unknown_at, changed_at), 1, 7)
    ),
    UNIQUE (edition, bought_as, number)
) STRICT;

CREATE TABLE history (
    attempt_key INTEGER NOT NULL REFERENCES attempts (attempt_key),
    from_state TEXT,               -- empty at the recording
    to_state TEXT NOT NULL,
    at TEXT NOT NULL,
    note TEXT                      -- the error, where one led to the change
) STRICT;

-- What each edition has cost and may cost in each month, kept up to date with each change of an attempt: a budget is
-- checked before each send, and adding up all rows for that would make a large batch slow.
CREATE TABLE spending (
    edition TEXT NOT NULL,
    month TEXT NOT NULL,           -- as attempts have it
    unit TEXT NOT NULL,            -- '' for attempts whose price is not known
    liability TEXT NOT NULL,       -- as states have it, but for none
    amount INTEGER NOT NULL,       -- of all those whose price is known
    unpriced INTEGER NOT NULL,     -- how many have none that is known
    PRIMARY KEY (edition, month, unit, liability)
) STRICT, WITHOUT ROWID;

-- Indexes, rules and views: a migration makes them when the rows are in place.

CREATE UNIQUE INDEX attempts_latest ON attempts (edition, job_id) WHERE latest = 1;
-- Few attempts are not the first of their job.
CREATE INDEX attempts_later ON attempts (edition, job_id, number) WHERE number > 1;
-- Few attempts are not the one that their job stands by.
CREATE INDEX attempts_beside ON attempts (edition, job_id) WHERE latest = 0;
-- Paid work is recognised by it when its job has another id.
CREATE INDEX attempts_by_sent_digest ON attempts (sent_digest);
CREATE INDEX attempts_by_digest ON attempts (digest) WHERE digest <> sent_digest;
CREATE INDEX attempts_by_kept_digest ON attempts (kept_digest) WHERE kept_digest IS NOT NULL;
CREATE UNIQUE INDEX attempts_by_moving_to ON attempts (moving_to) WHERE moving_to IS NOT NULL;
CREATE INDEX attempts_by_state ON attempts (state, latest);
-- Few are charged more than was estimated, or have failed and are to be read once more.
CREATE INDEX attempts_overcharged ON attempts (charged) WHERE charged > estimated;
CREATE INDEX attempts_to_reread ON attempts (finished_at) WHERE state = 'FAILED' AND reread_at IS NULL;
CREATE UNIQUE INDEX attempts_by_output ON attempts (output) WHERE output IS NOT NULL;
CREATE UNIQUE INDEX attempts_by_request ON attempts (request_key) WHERE request_key IS NOT NULL;
CREATE UNIQUE INDEX attempts_by_remote ON attempts (remote_id) WHERE remote_id IS NOT NULL;

CREATE TRIGGER attempts_known_transitions BEFORE UPDATE OF state ON attempts
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'no such transition');
END;

CREATE TRIGGER attempts_history_insert AFTER INSERT ON attempts
BEGIN
    INSERT INTO history VALUES (NEW.attempt_key, NULL, NEW.state, NEW.changed_at, NULL);
END;

CREATE TRIGGER attempts_history_update AFTER UPDATE OF state ON attempts
BEGIN
    INSERT INTO history VALUES (NEW.attempt_key, OLD.state, NEW.state, NEW.changed_at, NEW.error);
END;

CREATE TRIGGER attempts_spending_insert AFTER INSERT ON attempts
BEGIN
    INSERT INTO spending
    SELECT NEW.edition, NEW.month, coalesce(NEW.unit, ''), liability, coalesce(NEW.price, 0), NEW.price IS NULL
    FROM states WHERE state = NEW.state AND liability <> 'none'
    ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, unpriced = unpriced + excluded.unpriced;
END;

CREATE TRIGGER attempts_spending_update AFTER UPDATE OF state, submitted_at, estimated, charged, unit ON attempts
WHEN OLD.price IS NOT NEW.price OR OLD.unit IS NOT NEW.unit OR OLD.month IS NOT NEW.month
OR (SELECT liability FROM states WHERE state = OLD.state) <> (SELECT liability FROM states WHERE state = NEW.state)
BEGIN
    UPDATE spending SET amount = amount - coalesce(OLD.price, 0), unpriced = unpriced - (OLD.price IS NULL)
    WHERE edition = OLD.edition AND month = OLD.month AND unit = coalesce(OLD.unit, '')
    AND liability = (SELECT liability FROM states WHERE state = OLD.state);
    INSERT INTO spending
    SELECT NEW.edition, NEW.month, coalesce(NEW.unit, ''), liability, coalesce(NEW.price, 0), NEW.price IS NULL
    FROM states WHERE state = NEW.state AND liability <> 'none'
    ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, unpriced = unpriced + excluded.unpriced;
END;

CREATE VIEW results_by_attempt AS
SELECT
    a.job_id AS id, a.edition, s.public AS state, a.number AS attempt,
    coalesce(a.remote_id, a.request_key) AS generation_id, a.asset_id, a.prompt_id, a.image_id,
    a.fields ->> '$.model' AS model, a.fields ->> '$.prompt' AS prompt, a.image,
    a.fields ->> '$.aspect_ratio' AS aspect_ratio, a.fields ->> '$.resolution' AS resolution,
    a.fields ->> '$.duration_ms' AS duration_ms, a.output, a.sha256, a.bytes,
    CASE a.unit WHEN 'credits' THEN a.estimated END AS credits_estimated,
    CASE a.unit WHEN 'credits' THEN a.charged END AS credits_charged,
    a.error_code, a.error, a.request_id, a.submitted_at, a.finished_at,
    CASE WHEN a.bought_as <> a.job_id THEN a.bought_as END AS formerly,
    CASE a.unit WHEN 'credits' THEN a.refunded END AS credits_refunded, a.latest, a.attempt_key
FROM attempts AS a JOIN states AS s USING (state);

CREATE VIEW results AS
SELECT
    id, edition, state, attempt, generation_id, asset_id, prompt_id, image_id, model, prompt, image,
    aspect_ratio, resolution, duration_ms, output, sha256, bytes, credits_estimated, credits_charged,
    error_code, error, request_id, submitted_at, finished_at, formerly, credits_refunded
FROM results_by_attempt WHERE latest = 1;
