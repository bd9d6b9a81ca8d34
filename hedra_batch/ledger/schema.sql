-- The ledger's schema, version 3 (PRAGMA user_version). All instants are UTC, ISO 8601 with a Z.
-- Only the view `results` is for others to rely on; all else may change with a version.

CREATE TABLE info (
    key TEXT PRIMARY KEY,          -- manifest, batch_uuid, run_counter; lost_attempts and lost_mark: see `Loss`
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE states (
    state TEXT PRIMARY KEY,        -- loaded from the program's table at each opening
    public TEXT NOT NULL           -- new running unknown done failed held
) STRICT, WITHOUT ROWID;

CREATE TABLE transitions (
    from_state TEXT NOT NULL,      -- loaded from the program's table at each opening
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

CREATE TABLE servers (
    base_url TEXT PRIMARY KEY,
    ids_verdict TEXT NOT NULL      -- unproven, honoured or ignored: does it use the ids that we reserve?
) STRICT, WITHOUT ROWID;

CREATE TABLE assets (
    asset_key INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,          -- of the image's bytes, in hex
    asset_id TEXT NOT NULL,        -- the server's
    name TEXT NOT NULL,            -- the file name it was uploaded under
    uploaded_at TEXT NOT NULL,
    gone_at TEXT                   -- when the server said that it does not know it any more
) STRICT;
CREATE UNIQUE INDEX assets_one_alive ON assets (sha256) WHERE gone_at IS NULL;

CREATE TABLE attempts (
    attempt_key INTEGER PRIMARY KEY,
    edition TEXT NOT NULL,         -- '' is the default edition
    job_id TEXT NOT NULL,
    number INTEGER NOT NULL,       -- from 1, counts up for each (edition, job_id), never used twice
    latest INTEGER NOT NULL,       -- 1 for the highest number of its job, else 0
    state TEXT NOT NULL REFERENCES states (state),
    digest TEXT NOT NULL,          -- of `fields`
    fields TEXT NOT NULL,          -- JSON: the canonical inputs, images by content
    prompt_id TEXT NOT NULL,
    image_id TEXT NOT NULL,
    image TEXT,                    -- as the manifest writes it
    wanted_output TEXT NOT NULL,   -- relative to the run folder, as the manifest wants it
    generation_id TEXT,            -- ours from RESERVED on; the server's from ACCEPTED on
    body BLOB,                     -- the exact bytes of the request
    sends INTEGER NOT NULL DEFAULT 0,         -- POSTs begun with this id
    unknown_sends INTEGER NOT NULL DEFAULT 0, -- those of them whose outcome could not be told
    resends INTEGER NOT NULL DEFAULT 0,       -- sends again after a lost one, but for those surely not accepted
    unknown_at TEXT,               -- since when the outcome is unknown
    unknown_mark TEXT,             -- the same moment: start of the machine, and seconds since then
    absent_at TEXT,                -- when reading last found it absent
    ordered_at TEXT,               -- when a person ordered that it is sent once more; empty once it is
    submitted_at TEXT,             -- begin of the last send
    accepted_at TEXT,
    accepted_mark TEXT,            -- the same moment, as unknown_mark is written
    missing_at TEXT,               -- since when the server does not know what it had accepted; empty while it does
    finished_at TEXT,              -- entry into DONE, REJECTED, FAILED or ABANDONED
    changed_at TEXT NOT NULL,      -- last change of state
    asset_id TEXT,                 -- of the video
    eta_seconds REAL,              -- the server's guess at acceptance, else the model's usual time
    output TEXT,                   -- relative to the run folder; claimed at READY, for ever
    sha256 TEXT,                   -- of the video's bytes, in hex
    bytes INTEGER,                 -- of the video
    credits_estimated INTEGER,     -- by the price list at RESERVED; empty where it could not be known
    credits_charged INTEGER,       -- as the server reports it; empty where it did not
    error_code TEXT,
    error TEXT,
    request_id TEXT,               -- the server's x-request-id of the last answer to a send
    price INTEGER AS (             -- what it costs at most: as charged or as estimated, whichever is more
        max(coalesce(credits_charged, credits_estimated), coalesce(credits_estimated, credits_charged))
    ),
    liability TEXT AS (            -- charged: the server may have charged it; reserved: it is about to be sent; none
        CASE
            WHEN state = 'REJECTED' THEN 'none'
            WHEN state NOT IN ('NEW', 'RESERVED') OR unknown_sends > 0 THEN 'charged'
            WHEN state = 'RESERVED' THEN 'reserved'
            ELSE 'none'
        END
    ),
    UNIQUE (edition, job_id, number)
) STRICT;
CREATE INDEX attempts_by_state ON attempts (state) WHERE latest = 1;
CREATE UNIQUE INDEX attempts_by_output ON attempts (output) WHERE output IS NOT NULL;
CREATE UNIQUE INDEX attempts_by_generation ON attempts (generation_id) WHERE generation_id IS NOT NULL;

-- Few attempts are not the first of their job.
CREATE INDEX attempts_by_number ON attempts (number) WHERE number > 1;

CREATE TABLE history (
    attempt_key INTEGER NOT NULL REFERENCES attempts (attempt_key),
    from_state TEXT,               -- empty at the recording
    to_state TEXT NOT NULL,
    at TEXT NOT NULL,
    note TEXT                      -- the error, where one led to the change
) STRICT;

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

CREATE VIEW results_by_attempt AS
SELECT
    a.job_id AS id, a.edition, s.public AS state, a.number AS attempt, a.generation_id, a.asset_id,
    a.prompt_id, a.image_id, a.fields ->> '$.model' AS model, a.fields ->> '$.prompt' AS prompt, a.image,
    a.fields ->> '$.aspect_ratio' AS aspect_ratio, a.fields ->> '$.resolution' AS resolution,
    a.fields ->> '$.duration_ms' AS duration_ms, a.output, a.sha256, a.bytes,
    a.credits_estimated, a.credits_charged, a.error_code, a.error, a.request_id,
    a.submitted_at, a.finished_at, a.latest, a.attempt_key
FROM attempts AS a JOIN states AS s USING (state);

CREATE VIEW results AS
SELECT
    id, edition, state, attempt, generation_id, asset_id, prompt_id, image_id, model, prompt, image,
    aspect_ratio, resolution, duration_ms, output, sha256, bytes, credits_estimated, credits_charged,
    error_code, error, request_id, submitted_at, finished_at
FROM results_by_attempt WHERE latest = 1;
