-- What each edition has cost and may cost, kept up to date with each change of an attempt: a budget is checked before
-- each send, and adding up all rows for that would make a large batch slow.

CREATE TABLE spending (
    edition TEXT NOT NULL,
    liability TEXT NOT NULL,       -- as attempts have it
    credits INTEGER NOT NULL,      -- of all those whose price is known
    unpriced INTEGER NOT NULL,     -- how many have none that is known
    PRIMARY KEY (edition, liability)
) STRICT, WITHOUT ROWID;

INSERT INTO spending
SELECT edition, liability, coalesce(sum(price), 0), count(*) FILTER (WHERE price IS NULL)
FROM attempts GROUP BY edition, liability;

CREATE TRIGGER attempts_spending_insert AFTER INSERT ON attempts
BEGIN
    INSERT INTO spending VALUES (NEW.edition, NEW.liability, coalesce(NEW.price, 0), NEW.price IS NULL)
    ON CONFLICT DO UPDATE SET credits = credits + excluded.credits, unpriced = unpriced + excluded.unpriced;
END;

CREATE TRIGGER attempts_spending_update
AFTER UPDATE OF state, unknown_sends, credits_estimated, credits_charged ON attempts
WHEN OLD.liability <> NEW.liability OR OLD.price IS NOT NEW.price
BEGIN
    UPDATE spending SET credits = credits - coalesce(OLD.price, 0), unpriced = unpriced - (OLD.price IS NULL)
    WHERE edition = OLD.edition AND liability = OLD.liability;
    INSERT INTO spending VALUES (NEW.edition, NEW.liability, coalesce(NEW.price, 0), NEW.price IS NULL)
    ON CONFLICT DO UPDATE SET credits = credits + excluded.credits, unpriced = unpriced + excluded.unpriced;
END;
