<?xml version="1.0"?>
<!-- One PubmedArticle or PubmedBookArticle (pubmed_250101.dtd and its neighbors) to the fields of a record. A labeled part of
     an abstract is a paragraph "LABEL: text"; each value of a field that has several is a paragraph. What few records have is
     no field of the others, since each field costs 3 us. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="notation.xsl"/>
  <xsl:param name="is_whole" select="true()"/> <!-- false: without what sources rarely use -->

  <xsl:template match="PubmedArticle">
    <xsl:variable name="article" select="MedlineCitation/Article"/>
    <xsl:variable name="date" select="$article/Journal/JournalIssue/PubDate"/>
    <record>
      <field name="pmid"><xsl:value-of select="MedlineCitation/PMID"/></field>
      <xsl:apply-templates select="MedlineCitation/PMID/@Version[. != '1'] | $article/VernacularTitle"/>
      <field name="doi"><xsl:value-of select="(PubmedData/ArticleIdList/ArticleId[@IdType='doi'] | $article/ELocationID[@EIdType='doi'])[1]"/></field>
      <field name="title"><xsl:apply-templates select="$article/ArticleTitle"/></field>
      <field name="date"><xsl:value-of select="concat($date/Year, substring($date/MedlineDate, 1, 4 * not($date/Year)))"/></field>
      <field name="journal"><xsl:value-of select="$article/Journal/Title"/></field>
      <xsl:apply-templates select="$article/Abstract"/>
      <xsl:if test="$is_whole"><xsl:apply-templates select="$article/PublicationTypeList"/></xsl:if>
      <xsl:apply-templates select="$article/PublicationTypeList/PublicationType[starts-with(., 'Retract')]" mode="retracted"/>
      <xsl:if test="$is_whole or starts-with($article/ArticleTitle, '[')">
        <field name="language"><xsl:apply-templates select="$article/Language"/></field>
      </xsl:if>
      <xsl:if test="$is_whole"><xsl:apply-templates select="MedlineCitation/MeshHeadingList"/></xsl:if>
      <xsl:apply-templates select="MedlineCitation/CommentsCorrectionsList"/>
    </record>
  </xsl:template>

  <xsl:template match="PubmedBookArticle">
    <xsl:for-each select="BookDocument">
      <record>
        <field name="doi"><xsl:value-of select="(ArticleIdList/ArticleId[@IdType='doi'] | ELocationID[@EIdType='doi'])[1]"/></field>
        <field name="title"><xsl:apply-templates select="ArticleTitle | Book/BookTitle[not(../../ArticleTitle)]"/></field>
        <field name="date"><xsl:value-of select="Book/PubDate/Year"/></field>
        <field name="journal"><xsl:value-of select="Book/BookTitle"/></field>
        <field name="pmid"><xsl:value-of select="PMID"/></field>
        <xsl:apply-templates select="PMID/@Version[. != '1'] | VernacularTitle | Abstract"/>
        <field name="language"><xsl:apply-templates select="Language"/></field>
        <field name="publication_types"><xsl:apply-templates select="PublicationType"/></field>
        <xsl:apply-templates select="PublicationType[. = 'Retracted Publication']" mode="retracted"/>
      </record>
    </xsl:for-each>
    <xsl:if test="not(BookDocument)"><record/></xsl:if>
  </xsl:template>

  <xsl:template match="@Version"><field name="version"><xsl:value-of select="."/></field></xsl:template>
  <xsl:template match="VernacularTitle"><field name="vernacular_title"><xsl:value-of select="."/></field></xsl:template>
  <xsl:template match="Abstract">
    <field name="abstract">
      <xsl:for-each select="AbstractText">
        <xsl:choose>
          <xsl:when test="@Label = 'UNLABELLED' or @Label = 'UNASSIGNED'"/>
          <xsl:when test="@Label"><xsl:value-of select="concat(@Label, ': ')"/></xsl:when>
          <xsl:when test="@NlmCategory != 'UNASSIGNED'"><xsl:value-of select="concat(@NlmCategory, ': ')"/></xsl:when>
        </xsl:choose>
        <xsl:apply-templates/><xsl:text>&#x2029;</xsl:text>
      </xsl:for-each>
    </field>
  </xsl:template>
  <xsl:template match="PublicationTypeList"><field name="publication_types"><xsl:apply-templates select="PublicationType"/></field></xsl:template>
  <xsl:template match="PublicationType" mode="retracted">
    <xsl:if test=". = 'Retracted Publication'"><field name="retracted">true</field></xsl:if>
    <xsl:if test=". = 'Retraction of Publication' or . = 'Retraction Notice'"><field name="retracted">notice</field></xsl:if>
  </xsl:template>
  <xsl:template match="MeshHeadingList">
    <field name="mesh"><xsl:for-each select="MeshHeading/DescriptorName"><xsl:value-of select="concat(., '&#x2029;')"/></xsl:for-each></field>
  </xsl:template>
  <xsl:template match="Language | PublicationType"><xsl:value-of select="concat(., '&#x2029;')"/></xsl:template>
  <xsl:template match="CommentsCorrectionsList">
    <xsl:if test="CommentsCorrections[@RefType='RetractionIn']"><field name="retracted">true</field></xsl:if>
    <xsl:if test="CommentsCorrections[@RefType='RetractionOf']/PMID">
      <field name="retracts"><xsl:for-each select="CommentsCorrections[@RefType='RetractionOf']/PMID"><xsl:value-of select="concat('PMID:', normalize-space(.), '&#x2029;')"/></xsl:for-each></field>
    </xsl:if>
  </xsl:template>
</xsl:stylesheet>
