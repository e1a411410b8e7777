-- One row per stream that is applied here, changed in the transaction that applies: rows and position cannot disagree.
create table tidemark.progress (
    stream      text primary key,                   -- the source: system identifier/database
    end_lsn     pg_lsn not null,                    -- end LSN of the last transaction that was applied
    commit_time timestamptz,                        -- its commit time on the source's clock
    seeded_at   timestamptz not null default now(), -- when the copy of the source was complete
    applied_at  timestamptz not null default now()  -- when end_lsn was written, on this server's clock
);

comment on table tidemark.progress is
    'How far Tidemark has applied each source. A row changed by hand loses or repeats transactions.';
