//! Members of tenants.

use aias_domain::counted::CountedFeature;
use aias_domain::tenant::{Member, Role, UserId};

use super::{
    Error, Idempotency, Listing, Page, Stored, TenantStore,
    items::{item, stored},
    keys::{self},
    tenants::membership,
    transaction::Transaction,
    transaction_error::TransactionError,
};

impl TenantStore<'_> {
    /// A member.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn member(&self, user: &UserId) -> Result<Option<Stored<Member>>, Error> {
        let found = self
            .store
            .item(&keys::member(self.tenant, user), true)
            .await?;
        found.map(stored).transpose()
    }

    /// The members, by id.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn members(&self, listing: &Listing) -> Result<Page<Member>, Error> {
        self.page(&keys::members(self.tenant), listing, |m: &Member| {
            m.user_id.to_string()
        })
        .await
    }

    /// Adds a member.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when the user is already a member.
    pub async fn create_member(
        &self,
        member: &Member,
        limit: u64,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        self.adding_member(self.transaction()?, member, limit)?
            .response(idempotency)
            .commit()
            .await
    }

    /// Adds the writes of a new member.
    pub(super) fn adding_member<'t>(
        &self,
        transaction: Transaction<'t>,
        member: &Member,
        limit: u64,
    ) -> Result<Transaction<'t>, Error> {
        let tenant = keys::tenant(self.tenant);
        let transaction = transaction
            .create(item(
                &keys::member(self.tenant, &member.user_id),
                "member",
                member,
            )?)
            .create(membership(self.tenant, &member.user_id));
        Ok(match member.role {
            Role::Owner => transaction.count_members_and_owners(&tenant, limit),
            Role::Viewer | Role::Editor | Role::Admin => {
                transaction.count_up(&tenant, CountedFeature::Members, limit)
            }
        })
    }

    /// Changes the role of a member.
    ///
    /// # Errors
    ///
    /// [`TransactionError::LastOwner`] when there is no other owner.
    pub async fn save_member(
        &self,
        read: &Stored<Member>,
        role: Role,
    ) -> Result<Member, TransactionError> {
        let tenant = keys::tenant(self.tenant);
        let member = Member {
            role,
            ..read.value.clone()
        };
        let own = item(
            &keys::member(self.tenant, &member.user_id),
            "member",
            &member,
        )?;
        let transaction = self.transaction()?.replace(own, read.version);
        let transaction = match (read.value.role, role) {
            (Role::Owner, Role::Owner) => transaction,
            (Role::Owner, _) => transaction.count_down(&tenant, CountedFeature::Owners),
            (_, Role::Owner) => {
                transaction.count_up(&tenant, CountedFeature::Owners, u64::MAX >> 1)
            }
            _ => transaction,
        };
        transaction.commit().await.map(|()| member)
    }

    /// Removes a member.
    ///
    /// # Errors
    ///
    /// [`TransactionError::LastOwner`] when there is no other owner.
    pub async fn delete_member(&self, read: &Stored<Member>) -> Result<(), TransactionError> {
        let tenant = keys::tenant(self.tenant);
        let user = &read.value.user_id;
        let transaction = self
            .transaction()?
            .delete_read(&keys::member(self.tenant, user), read.version)
            .delete(&keys::user_tenant(user, self.tenant));
        let transaction = match read.value.role {
            // A disabled member is not counted.
            _ if read.value.disabled_by_plan => transaction,
            Role::Owner => transaction.uncount_member_and_owner(&tenant),
            Role::Viewer | Role::Editor | Role::Admin => {
                transaction.count_down(&tenant, CountedFeature::Members)
            }
        };
        transaction.commit().await
    }
}
