-- What a person was given once is found by what he is known by, when he becomes known by something more.
create index benefit_claims_digest on identity.benefit_claims (digest);
