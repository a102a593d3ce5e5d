-- Why: what an app's owner switches on and off, beside client events: see `tenancy::app::Features`. One JSON object, so that
-- a new switch needs no column and an old row means the default.

alter table apps add column features text not null default '{}';
