//! Invitations to tenants.

use aias_domain::{
    id::{InvitationId, TenantId},
    tenant::{Invitation, Member, Tenant},
};
use jiff::Timestamp;

use super::{
    Error, Idempotency, Listing, Page, Proof, Store, Stored, TenantStore,
    items::{EXPIRES_AT, Item, RangeQuery, item, number, stored},
    keys,
    tenants::living,
    transaction_error::TransactionError,
};

/// How long an invitation is listed after it ended, in seconds.
const LISTED_SECONDS: i64 = 30 * 24 * 3600;

/// An invitation whose token the caller knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInvitation {
    /// Proves that the caller knew the token.
    pub proof: Proof,
    pub tenant: Tenant,
    pub invitation: Stored<Invitation>,
}

impl Store {
    /// The invitation of a token, whose keyed hash by each key of the keyring is in `hashes`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn invitation_of_token(
        &self,
        tenant: TenantId,
        id: InvitationId,
        hashes: &[String],
    ) -> Result<Option<FoundInvitation>, Error> {
        let (home, key) = (keys::tenant(tenant), keys::invitation(tenant, id));
        let (tenant_item, found) = tokio::join!(self.item(&home, true), self.item(&key, true));
        let found: Option<Stored<Invitation>> = found?.map(stored).transpose()?;
        let tenant_item = living(tenant, tenant_item?)?.filter(|t| t.deleted_at.is_none());
        Ok(found.zip(tenant_item).and_then(|(invitation, own)| {
            let is_known = hashes.iter().fold(false, |known, hash| {
                let stored = invitation.value.token_hash.as_bytes();
                known | crate::secrets::is_equal(hash.as_bytes(), stored)
            });
            is_known.then(|| FoundInvitation {
                proof: Proof::new(tenant),
                tenant: own,
                invitation,
            })
        }))
    }
}

impl TenantStore<'_> {
    fn invitation_item(&self, invitation: &Invitation) -> Result<Item, Error> {
        let key = keys::invitation(self.tenant, invitation.id);
        let mut own = item(&key, "invitation", invitation)?;
        let until = invitation.valid_until.as_second() + LISTED_SECONDS;
        own.insert(EXPIRES_AT.to_owned(), number(until));
        Ok(own)
    }

    /// Creates an invitation.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn create_invitation(
        &self,
        invitation: &Invitation,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        self.transaction()?
            .create(self.invitation_item(invitation)?)
            .response(idempotency)
            .commit()
            .await
    }

    /// The invitations, newest first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn invitations(&self, listing: &Listing) -> Result<Page<Invitation>, Error> {
        let range = keys::invitations(self.tenant);
        self.page(&range, listing, |one: &Invitation| one.id.to_string())
            .await
    }

    /// The number of invitations that can be accepted at `now`, counted up to `max`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn open_invitations(&self, max: usize, now: Timestamp) -> Result<usize, Error> {
        let query = RangeQuery {
            limit: max,
            filter: Some("attribute_not_exists(accepted_by) AND valid_until > :now"),
            filter_values: &[(":now", &now.to_string())],
            ..RangeQuery::default()
        };
        let range = keys::invitations(self.tenant);
        Ok(self.store.range(&range, query).await?.len())
    }

    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn invitation(&self, id: InvitationId) -> Result<Option<Stored<Invitation>>, Error> {
        let key = keys::invitation(self.tenant, id);
        self.store.item(&key, true).await?.map(stored).transpose()
    }

    /// Deletes an invitation. Its token is refused from the next request on.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when it has changed since it was read.
    pub async fn delete_invitation(
        &self,
        read: &Stored<Invitation>,
    ) -> Result<(), TransactionError> {
        let key = keys::invitation(self.tenant, read.value.id);
        self.transaction()?
            .delete_read(&key, read.version)
            .commit()
            .await
    }

    /// Accepts an invitation and adds the member, in one transaction.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when the invitation has changed, or the person is a member
    /// already.
    pub async fn accept_invitation(
        &self,
        accepted: &Stored<Invitation>,
        member: &Member,
        limit: u64,
    ) -> Result<(), TransactionError> {
        let own = self.invitation_item(&accepted.value)?;
        let transaction = self.transaction()?.replace(own, accepted.version);
        self.adding_member(transaction, member, limit)?
            .commit()
            .await
    }
}
