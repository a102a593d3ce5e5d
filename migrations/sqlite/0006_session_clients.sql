-- Why: a person looks through their sessions and must tell their own from a stranger's. Kept are the network of the
-- sign-in, never the whole address, and what the browser called itself; both are empty for sessions from before.

alter table sessions add column address text not null default '';
alter table sessions add column user_agent text not null default '';
